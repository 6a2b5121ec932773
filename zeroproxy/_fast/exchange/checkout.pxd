from zeroproxy._fast.types.plane cimport Endpoint, Plane, Relay

cdef Endpoint *checkout_endpoint(Plane *p, Relay *r) noexcept nogil
cdef void checkout_conn(Plane *p, Relay *r) noexcept nogil
cdef bint failed_for_lack_of_fds() noexcept nogil
