from zeroproxy._fast.types.plane cimport Plane, Relay

cdef void relay_install(Plane *p) noexcept nogil
cdef void run_relay(Plane *p, Relay *r) noexcept nogil
cdef bint run_later(Plane *p) noexcept nogil
cdef void relay_begin_drain(Plane *p) noexcept nogil
cdef void relay_close_all(Plane *p) noexcept nogil
