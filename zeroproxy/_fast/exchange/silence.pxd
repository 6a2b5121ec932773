from libc.stdint cimport uint32_t, uint64_t

from zeroproxy._fast.types.plane cimport Endpoint, Plane, Relay

cdef bint is_owed(const Relay *r, const Endpoint *e) noexcept nogil
cdef uint64_t owed_since(const Relay *r) noexcept nogil
cdef uint32_t end_silent(Plane *p, const Endpoint *e, uint64_t after) noexcept nogil
