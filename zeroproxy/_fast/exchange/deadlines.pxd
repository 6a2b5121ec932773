from libc.stdint cimport uint64_t

from zeroproxy._fast.types.plane cimport Plane, Relay

cdef uint64_t deadline(const Plane *p, const Relay *r) noexcept nogil
cdef void body_came(const Plane *p, Relay *r) noexcept nogil
cdef bint body_is_late(const Plane *p, const Relay *r) noexcept nogil
cdef void arm(Plane *p, Relay *r) noexcept nogil
cdef uint64_t hedge_due(const Relay *r) noexcept nogil
