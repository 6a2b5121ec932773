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
    BREAKER_FAILURE         # an attempt failed, and the terms allow more
    BREAKER_TRIP            # an attempt failed, and that is too much
    BREAKER_DUE             # it was open long enough
    BREAKER_CONFIRMED       # enough probes were answered
    BREAKER_OFF             # switched off, or the endpoint is another one's now
    BREAKER_LAST_ENDPOINT   # no other endpoint of its upstream is in rotation
    BREAKER_INPUTS


cdef enum AttemptResult:    # what is known of an attempt; the last one said stands
    RESULT_NONE = 0         # nothing: the caller left, 4xx, 501, a stale conn
    RESULT_OK               # a good head; it counts if its body comes to its end
    RESULT_BUSY             # 429, 503
    RESULT_FAILED

cdef enum:
    RATE_ONE = 65536        # BreakerSettings.rate of everything
    SHARE_ONE = 1024        # the share of an endpoint that is not starting slowly

cdef BreakerState breaker_step(BreakerState state, BreakerInput what) noexcept nogil
cdef bint breaker_admits(const Breaker *b, const BreakerSettings *t, uint64_t now) noexcept nogil
cdef void breaker_begin(
    Breaker *b, const BreakerSettings *t, BreakerTicket *attempt, uint64_t now,
) noexcept nogil
cdef bint breaker_confirm(
    Breaker *b, const BreakerSettings *t, BreakerTicket *attempt,
) noexcept nogil
cdef void breaker_end(
    Breaker *b, const BreakerSettings *t, BreakerTicket *attempt, bint is_last, uint64_t now,
) noexcept nogil
cdef void breaker_release(Breaker *b) noexcept nogil
cdef void breaker_off(Breaker *b) noexcept nogil

cdef void attempt_begins(Plane *p, Relay *r) noexcept nogil
cdef void attempt_answered(Plane *p, Relay *r) noexcept nogil
cdef void attempt_ends(Plane *p, Relay *r) noexcept nogil
cdef void note_status(Relay *r, int status) noexcept nogil
cdef bint upstream_release(Plane *p, Upstream *u) noexcept nogil

cdef uint64_t slow_start_share(const Endpoint *e, uint64_t now) noexcept nogil
cdef bint slow_start_admits(Endpoint *e, uint64_t now) noexcept nogil
