from zeroproxy._fast.types.plane cimport Plane, Relay

cdef bint send_local_reply(Plane *p, Relay *r) noexcept nogil
cdef void refuse_over_limit(Plane *p, int fd) noexcept nogil
cdef void refuse_plain(Plane *p, int fd) noexcept nogil
