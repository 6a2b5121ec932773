from libc.stdint cimport uint32_t

from zeroproxy._fast.types.plane cimport Endpoint, Plane, Upstream

cdef Upstream *registry_add_upstream(Plane *p) except NULL
cdef void registry_undo_upstream(Plane *p) noexcept nogil
cdef Endpoint *registry_stage_endpoint(
    Plane *p, Upstream *u, settings, list urls, uint32_t n_staged
) except NULL
cdef void registry_undo_endpoint(Plane *p) noexcept nogil
cdef void registry_join(Plane *p, void *what) noexcept nogil
cdef void registry_remove(Plane *p, void *what) noexcept nogil
cdef int registry_set_models(Plane *p, bytes body) except -1
cdef void registry_free(Plane *p) noexcept nogil
