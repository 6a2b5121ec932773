from zeroproxy._fast.types.plane cimport Plane, Relay

cdef Relay *acquire_relay(Plane *p) noexcept nogil
cdef void release_relay(Plane *p, Relay *r) noexcept nogil
cdef void relay_reset(Plane *p, Relay *r) noexcept nogil
cdef void relay_later(Plane *p, Relay *r) noexcept nogil
cdef void rate_begin(const Plane *p, Relay *r) noexcept nogil
cdef void blame(Relay *r, int who, int why) noexcept nogil
