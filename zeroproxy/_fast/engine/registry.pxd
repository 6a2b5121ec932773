from libc.stdint cimport uint32_t

from zeroproxy._fast.types.plane cimport Endpoint, Plane, Upstream

# Append an upstream without endpoints; the plane owns it.
cdef Upstream *registry_add_upstream(Plane *p) except NULL
# Free the last upstream, which nothing refers to yet.
cdef void registry_undo_upstream(Plane *p) noexcept nogil
# Return the slot of an endpoint, an old one or a new one, not in force; the plane owns it.
# `urls` are by slot. `n_staged`: endpoints of this change that join before it.
cdef Endpoint *registry_stage_endpoint(
    Plane *p, Upstream *u, settings, list urls, uint32_t n_staged
) except NULL
# Free the last slot, which has never been in force.
cdef void registry_undo_endpoint(Plane *p) noexcept nogil
# Put an endpoint (`what`) in force.
cdef void registry_join(Plane *p, void *what) noexcept nogil
# Take an endpoint (`what`) out of force; its exchanges finish.
cdef void registry_remove(Plane *p, void *what) noexcept nogil
# Set the body of the list of models; None: the request for it is passed on.
cdef int registry_set_models(Plane *p, bytes body) except -1
# Free every struct that the plane's tables point to, and the tables.
cdef void registry_free(Plane *p) noexcept nogil
