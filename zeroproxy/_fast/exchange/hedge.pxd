from zeroproxy._fast.types.plane cimport Conn, Plane, Relay

cdef void hedge(Plane *p, Relay *r) noexcept nogil
cdef void hedge_ready(Plane *p, Relay *r, Conn *c) noexcept nogil
cdef void lose_hedge(Plane *p, Relay *r) noexcept nogil
cdef bint hedge_takes_over(Plane *p, Relay *r) noexcept nogil
