from zeroproxy._fast.exchange.state_machine cimport RetryFacts
from zeroproxy._fast.types.plane cimport Endpoint, Plane, Relay, Upstream

# Prepare the timer of a new upstream.
cdef void hold_init(Upstream *u) noexcept nogil
# Look if the upstream has an endpoint that takes requests, and act if that has changed.
cdef void hold_review(Plane *p, Upstream *u) noexcept nogil
# Note that an endpoint is well: of a health probe, or of an answer.
cdef void hold_trust(Plane *p, Endpoint *e) noexcept nogil
# Note the start of an answer from an endpoint in doubt, or while relays wait.
cdef void hold_answered(Plane *p, Relay *r) noexcept nogil
# The attempt has failed because of `why`. 1: the exchange waits for an endpoint (IN_HELD).
cdef bint hold_takes_lost(Plane *p, Relay *r, const RetryFacts *a, int why) noexcept nogil
# The endpoint has answered, with the head in p.response_head. 1: it is loading (IN_HELD).
cdef bint hold_takes_busy(Plane *p, Relay *r) noexcept nogil
# Put the exchange back into the queue, first in its turn: NOTHING or IN_REFUSED.
cdef int hold_again(Plane *p, Relay *r) noexcept nogil
# Return 1 if the exchange waits for an endpoint.
cdef bint hold_is_waiting(const Relay *r) noexcept nogil
