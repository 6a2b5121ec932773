from zeroproxy._fast.plane cimport Endpoint, Plane, Upstream

cdef Upstream *roster_add_upstream(Plane *p) except NULL
cdef int roster_set_upstream(Upstream *u, dict words) except -1
cdef Endpoint *roster_add_endpoint(Plane *p, Upstream *u, tuple spec, list urls) except NULL
cdef int roster_set_endpoint(Plane *p, Endpoint *e, dict words) except -1
cdef int roster_set_pool(Plane *p, Endpoint *e, dict words) except -1
cdef void roster_remove(Plane *p, Endpoint *e) noexcept nogil
cdef int roster_set_routes(Plane *p, routes, int rest) except -1
cdef int roster_set_models(Plane *p, bytes body) except -1
cdef void roster_free(Plane *p) noexcept nogil
