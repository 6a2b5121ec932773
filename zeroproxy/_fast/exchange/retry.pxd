from libc.stdint cimport uint64_t

from zeroproxy._fast.exchange.state_machine cimport RetryFacts
from zeroproxy._fast.types.plane cimport Plane, Relay

cdef bint is_soon(const Plane *p, uint64_t sent_ns) noexcept nogil
cdef void describe_attempt(const Plane *p, const Relay *r, RetryFacts *a) noexcept nogil
cdef bint is_stale(const RetryFacts *a) noexcept nogil
cdef bint is_withheld(const RetryFacts *a) noexcept nogil
