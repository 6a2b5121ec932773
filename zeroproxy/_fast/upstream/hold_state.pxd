from libc.stdint cimport uint64_t

from zeroproxy._fast.types.plane cimport Endpoint, Plane, Relay, Upstream

# Return 1 if an endpoint takes requests: in rotation, not drained, not refusing connections.
cdef bint hold_has_endpoint(const Upstream *u) noexcept nogil
# Return 1 if one that waits, while `u.hold.is_on`, may go now.
cdef bint hold_admits(Upstream *u, uint64_t now) noexcept nogil
# Count a relay that has got a permit while `u.hold.is_on`: a trial, or one that was let go.
cdef void hold_let_go(Upstream *u, Relay *r) noexcept nogil
# End the trial of a relay whose permit is released.
cdef void hold_trial_ends(Upstream *u, Relay *r, uint64_t now) noexcept nogil
# Note that the upstream has no endpoint from now on.
cdef void hold_begin(Upstream *u, uint64_t now) noexcept nogil
# Note that an endpoint is back. If any relay waits, it starts slowly.
cdef void hold_end(Upstream *u, uint64_t now) noexcept nogil
# Note that no relay is in the queue: no timer, and nothing to be let go.
cdef void hold_rest(Plane *p, Upstream *u) noexcept nogil
# Arm the timer for the next trial, or the next one to be let go; a relay is in the queue.
cdef void hold_arm(Plane *p, Upstream *u) noexcept nogil
# Note that no attempt gets through to the endpoint: others go first, and its 503 is no answer.
cdef void hold_doubt(Endpoint *e, uint64_t now) noexcept nogil
