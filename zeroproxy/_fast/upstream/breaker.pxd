from libc.stdint cimport uint64_t

from zeroproxy._fast.types.breaker cimport Breaker, BreakerSettings, BreakerTicket
from zeroproxy._fast.types.plane cimport Endpoint, Plane, Relay, Upstream


cdef enum BreakerState:     # as zeroproxy_breaker_state shows it
    BREAKER_CLOSED = 0
    BREAKER_HALF_OPEN
    BREAKER_OPEN
    BREAKER_STATES


cdef enum BreakerInput:
    BREAKER_SUCCESS = 0     # an attempt ended well
    BREAKER_FAILURE         # an attempt failed, and the settings allow more
    BREAKER_TRIP            # an attempt failed, and that is too much
    BREAKER_DUE             # it was open long enough
    BREAKER_CONFIRMED       # enough probes were answered
    BREAKER_OFF             # switched off, or the slot's endpoint has changed
    BREAKER_LAST_ENDPOINT   # no other endpoint of its upstream is in rotation
    BREAKER_INPUTS


cdef enum AttemptResult:    # the last one that was noted stands
    RESULT_NONE = 0         # nothing: the caller left, 4xx, 501, a stale conn
    RESULT_OK               # a good head; it counts if its body comes to its end
    RESULT_BUSY             # 429, 503
    RESULT_FAILED

cdef enum:
    RATE_ONE = 65536        # BreakerSettings.rate of everything
    SHARE_ONE = 1024        # the share of an endpoint that is not starting slowly


# ---- the breaker

# State after `what`. Not a row: a debug build aborts, a release build stays closed.
cdef BreakerState breaker_step(BreakerState state, BreakerInput what) noexcept nogil
# An attempt may begin: closed, open and due, or half open with a probe to spare.
cdef bint breaker_admits(const Breaker *b, const BreakerSettings *t, uint64_t now) noexcept nogil
# Note the start of an admitted attempt in its ticket.
cdef void breaker_begin(
    Breaker *b, const BreakerSettings *t, BreakerTicket *attempt, uint64_t now,
) noexcept nogil
# The answer to a probe has begun. 1: it closes the breaker.
cdef bint breaker_confirm(
    Breaker *b, const BreakerSettings *t, BreakerTicket *attempt,
) noexcept nogil
# Count an attempt that is over. `is_last`: no other endpoint could be tried.
cdef void breaker_end(
    Breaker *b, const BreakerSettings *t, BreakerTicket *attempt, bint is_last, uint64_t now,
) noexcept nogil
# Close without proof: the next failure opens it again, if there is another endpoint.
cdef void breaker_close_unproven(Breaker *b) noexcept nogil
# Close, and hold nothing against the endpoint.
cdef void breaker_off(Breaker *b) noexcept nogil
# Go on where another process was: with an open breaker, half open at `due_ns`, or a closed one. A
# breaker that has moved here stays.
cdef void breaker_restore(
    Breaker *b, const BreakerSettings *t, const Breaker *from_,
) noexcept nogil


# ---- attempts

# Count a relay's attempt at the endpoint that was picked.
cdef void attempt_begins(Plane *p, Relay *r) noexcept nogil
# Note the first content of the answer, with its time in the relay.
cdef void attempt_answered(Plane *p, Relay *r) noexcept nogil
# End a relay's attempt, however it ended. The one place that does.
cdef void attempt_ends(Plane *p, Relay *r) noexcept nogil
# Judge the final head of an attempt. A body that is cut later is judged anew.
cdef void note_status(Relay *r, int status) noexcept nogil
# Let endpoints back in that only their breakers keep out. 0: there is none.
cdef bint upstream_readmit(Plane *p, Upstream *u) noexcept nogil


# ---- slow start

# Part of its share that a starting endpoint may have now, of SHARE_ONE.
cdef uint64_t slow_start_share(const Endpoint *e, uint64_t now) noexcept nogil
# A starting endpoint accepts this request. 0: it goes to another.
cdef bint slow_start_admits(Endpoint *e, uint64_t now) noexcept nogil
