from libc.stdint cimport uint64_t

from zeroproxy._fast.exchange.state_machine cimport RetryFacts
from zeroproxy._fast.types.plane cimport Plane, Relay

# Return 1 if an end now can still be a race with a request sent at `sent_ns`.
cdef bint is_soon(const Plane *p, uint64_t sent_ns) noexcept nogil
# Fill the facts of the current attempt, which has failed.
cdef void describe_attempt(const Plane *p, const Relay *r, RetryFacts *a) noexcept nogil
# Return 1 if a reused conn had died before the request came.
cdef bint is_stale(const RetryFacts *a) noexcept nogil
# Return 1 if only this forbids a retry: the endpoint may have worked on the request.
cdef bint is_withheld(const RetryFacts *a) noexcept nogil
# Return 1 if the caller is known to have left by now, whatever its conn shows.
cdef bint is_left_behind(const Plane *p, const Relay *r) noexcept nogil
