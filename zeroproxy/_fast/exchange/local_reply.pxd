from zeroproxy._fast.types.plane cimport Plane, Relay

cdef bint send_answer(Plane *p, Relay *r) noexcept nogil
cdef void refuse_politely(Plane *p, int fd) noexcept nogil
cdef void refuse_plain(Plane *p, int fd) noexcept nogil
