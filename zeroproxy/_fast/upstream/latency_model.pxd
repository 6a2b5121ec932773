from libc.stdint cimport uint64_t

from zeroproxy._fast.types.balance cimport Length, Pace
from zeroproxy._fast.types.plane cimport Endpoint, Plane, Relay


cdef double pace_load(const Endpoint *e, uint64_t now) noexcept nogil
cdef bint pace_is_known(const Endpoint *e) noexcept nogil
cdef double pace_time(const Pace *s, const Length *l, double q) noexcept nogil
cdef bint pace_is_due(const Endpoint *e, uint64_t now) noexcept nogil
cdef void pace_begins(Plane *p, Relay *r) noexcept nogil
cdef void pace_ends(Plane *p, Relay *r) noexcept nogil
cdef void pace_tell(Endpoint *e, double[3] load, uint64_t lasts, uint64_t now) noexcept nogil
cdef void pace_forget(Endpoint *e) noexcept nogil
