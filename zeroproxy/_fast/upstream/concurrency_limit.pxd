from libc.stdint cimport uint64_t

from zeroproxy._fast.types.plane cimport Endpoint, Relay

cdef void limit_begin(Endpoint *e) noexcept nogil
cdef bint limit_observe(const Relay *r, uint64_t now) noexcept nogil
cdef void limit_busy(const Relay *r, uint64_t now) noexcept nogil
