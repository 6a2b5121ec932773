"""One endpoint's circuit breaker, as a table, and its slow start after a recovery.

Law 1. Every legal move is a row of MOVES; any other move is a bug, as in state_machine.pyx.
Law 2. An attempt counts once, when it ends, and only in the epoch it began in. Attempts under way
       when the breaker opened are no evidence about the endpoint that comes back.
Law 3. Half open, at most `probes` attempts are under way or proven. A probe proves the endpoint
       with the start of its answer (count_and_strip.pyx, law 2), not with its end. A generation
       takes minutes, and an upstream with one endpoint would wait for it. The breaker closes
       unconfirmed: one failure before an attempt has ended well opens it again, twice as long.
Law 4. 4xx is the caller's fault and no sign. 429 and 503 release the probe, and count as failures
       only if the settings have it so. A whole 5xx is no sign while the health probe is good:
       servers send it for callers' faults, too. 501 never is one.
Law 5. No breaker shuts the last endpoint of an upstream: an attempt there costs a caller less than
       a refusal. One that is open when the others go is closed again.
Tests: tests/unit/test_breaker.py, tests/relay/test_breaker.py,
       tests/relay/test_breaker_last.py.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from zeroproxy._fast.types.breaker cimport WINDOW_SLOTS, Breaker, BreakerSettings, BreakerTicket
from zeroproxy._fast.types.clock cimport NS_PER_MS, NS_PER_S
from zeroproxy._fast.types.invariant cimport invariant
from zeroproxy._fast.types.plane cimport Attempt, Endpoint, Plane, Relay, Upstream
from zeroproxy._fast.upstream.breaker cimport (
    BREAKER_CLOSED,
    BREAKER_CONFIRMED,
    BREAKER_DUE,
    BREAKER_FAILURE,
    BREAKER_HALF_OPEN,
    BREAKER_INPUTS,
    BREAKER_LAST_ENDPOINT,
    BREAKER_OFF,
    BREAKER_OPEN,
    BREAKER_STATES,
    BREAKER_SUCCESS,
    BREAKER_TRIP,
    RATE_ONE,
    RESULT_BUSY,
    RESULT_FAILED,
    RESULT_NONE,
    RESULT_OK,
    SHARE_ONE,
    BreakerInput,
    BreakerState,
)
from zeroproxy._fast.upstream.concurrency_limit cimport limit_busy

MOVES = {
    (BREAKER_CLOSED, BREAKER_SUCCESS): BREAKER_CLOSED,
    (BREAKER_CLOSED, BREAKER_FAILURE): BREAKER_CLOSED,
    (BREAKER_CLOSED, BREAKER_TRIP): BREAKER_OPEN,
    (BREAKER_CLOSED, BREAKER_OFF): BREAKER_CLOSED,
    (BREAKER_CLOSED, BREAKER_LAST_ENDPOINT): BREAKER_CLOSED,

    (BREAKER_OPEN, BREAKER_DUE): BREAKER_HALF_OPEN,
    (BREAKER_OPEN, BREAKER_OFF): BREAKER_CLOSED,
    (BREAKER_OPEN, BREAKER_LAST_ENDPOINT): BREAKER_CLOSED,

    (BREAKER_HALF_OPEN, BREAKER_SUCCESS): BREAKER_HALF_OPEN,
    (BREAKER_HALF_OPEN, BREAKER_CONFIRMED): BREAKER_CLOSED,
    (BREAKER_HALF_OPEN, BREAKER_TRIP): BREAKER_OPEN,
    (BREAKER_HALF_OPEN, BREAKER_OFF): BREAKER_CLOSED,
    (BREAKER_HALF_OPEN, BREAKER_LAST_ENDPOINT): BREAKER_CLOSED,
}

cdef enum:
    BUG = 255
    OPEN_MAX_S = 60         # doubling ends here
    BUSY_MS = 1000          # others go first for so long after 429 or 503
    SHARE_MIN = 32          # of SHARE_ONE: so the first request does not wait for ever

cdef unsigned char[BREAKER_STATES][BREAKER_INPUTS] NEXT


cdef int compile_moves() except -1:
    cdef int state, what
    for state in range(BREAKER_STATES):
        for what in range(BREAKER_INPUTS):
            NEXT[state][what] = BUG
    for (state, what), to in MOVES.items():
        NEXT[state][what] = to
    return 0


compile_moves()


cdef BreakerState breaker_step(BreakerState state, BreakerInput what) noexcept nogil:
    """State after `what`. Not a row: a debug build aborts, a release build stays closed, which
    keeps the endpoint in service."""
    cdef unsigned char to = NEXT[<int>state][<int>what]
    invariant(to != BUG)
    return BREAKER_CLOSED if to == BUG else <BreakerState>to


cdef void move(Breaker *b, BreakerInput what) noexcept nogil:
    cdef BreakerState to = breaker_step(<BreakerState>b.state, what)
    if to != b.state:
        b.state = <uint8_t>to
        b.transitions[<int>to] += 1
        b.n_probing = b.n_confirmed = 0


# ---------------------------------------------------------------- the window


cdef void forget_window(Breaker *b) noexcept nogil:
    b.in_a_row = 0
    memset(b.n_ok, 0, sizeof(b.n_ok))
    memset(b.n_failed, 0, sizeof(b.n_failed))


cdef uint32_t roll_window(Breaker *b, const BreakerSettings *t, uint64_t now) noexcept nogil:
    """Empty the slots that have passed; returns the index of the present one."""
    cdef uint64_t width = t.window_ns // WINDOW_SLOTS
    cdef uint64_t slot = now // width if width else 0
    if slot < b.slot or slot - b.slot >= WINDOW_SLOTS:
        memset(b.n_ok, 0, sizeof(b.n_ok))
        memset(b.n_failed, 0, sizeof(b.n_failed))
        b.slot = slot
    while b.slot < slot:
        b.slot += 1
        b.n_ok[b.slot % WINDOW_SLOTS] = b.n_failed[b.slot % WINDOW_SLOTS] = 0
    return <uint32_t>(slot % WINDOW_SLOTS)


cdef bint is_too_much(const Breaker *b, const BreakerSettings *t) noexcept nogil:
    cdef uint64_t well = 0, failed = 0
    cdef int k
    if b.state == BREAKER_HALF_OPEN or b.is_unconfirmed:
        return 1
    for k in range(WINDOW_SLOTS):
        well += b.n_ok[k]
        failed += b.n_failed[k]
    if t.failures and b.in_a_row >= t.failures and (t.window_ns == 0 or failed >= t.failures):
        return 1
    return t.rate and t.window_ns and well + failed >= t.min_requests \
        and failed * RATE_ONE >= (well + failed) * t.rate


# ---------------------------------------------------------------- the breaker


cdef inline bint is_off(const BreakerSettings *t) noexcept nogil:
    return t.failures == 0 and t.rate == 0


cdef void open_it(Breaker *b, const BreakerSettings *t, uint64_t now) noexcept nogil:
    cdef uint64_t wait = t.open_ns
    cdef uint32_t k = b.n_trips
    cdef uint64_t most = <uint64_t>OPEN_MAX_S * <uint64_t>NS_PER_S
    while k and wait < most:
        wait = wait * 2 if wait * 2 < most else most
        k -= 1
    move(b, BREAKER_TRIP)
    b.n_trips += 1
    b.epoch += 1
    b.is_unconfirmed = 0
    b.due_ns = now + wait
    forget_window(b)


cdef bint breaker_admits(const Breaker *b, const BreakerSettings *t, uint64_t now) noexcept nogil:
    if b.state == BREAKER_CLOSED:
        return 1
    if b.state == BREAKER_OPEN:
        return now >= b.due_ns
    return b.n_probing + b.n_confirmed < t.probes


cdef void breaker_begin(
    Breaker *b, const BreakerSettings *t, BreakerTicket *attempt, uint64_t now,
) noexcept nogil:
    """Start an admitted attempt."""
    attempt.result = RESULT_NONE
    attempt.is_probe = 0
    if b.state == BREAKER_OPEN:
        move(b, BREAKER_DUE)
    attempt.epoch = b.epoch
    if b.state == BREAKER_HALF_OPEN:
        attempt.is_probe = 1
        b.n_probing += 1


cdef bint breaker_confirm(
    Breaker *b, const BreakerSettings *t, BreakerTicket *attempt,
) noexcept nogil:
    """Note the start of a probe's answer. 1: it closes the breaker."""
    if not attempt.is_probe:
        return 0
    attempt.is_probe = 0
    if attempt.epoch != b.epoch or b.state != BREAKER_HALF_OPEN:
        return 0
    b.n_probing -= 1
    b.n_confirmed += 1
    if b.n_confirmed < t.probes:
        return 0
    move(b, BREAKER_CONFIRMED)
    b.is_unconfirmed = 1
    forget_window(b)
    return 1


cdef void count_well(Breaker *b, const BreakerSettings *t, uint64_t now) noexcept nogil:
    b.n_ok[roll_window(b, t, now)] += 1
    b.in_a_row = 0
    b.n_trips = 0
    b.is_unconfirmed = 0
    move(b, BREAKER_SUCCESS)


cdef void breaker_close_unproven(Breaker *b) noexcept nogil:
    """Close without proof: the next failure opens it again, if another endpoint is there then."""
    if b.state != BREAKER_CLOSED:
        b.is_unconfirmed = 1
        forget_window(b)
    move(b, BREAKER_LAST_ENDPOINT)


cdef void count_failed(
    Breaker *b, const BreakerSettings *t, bint is_last, uint64_t now,
) noexcept nogil:
    b.n_failed[roll_window(b, t, now)] += 1
    b.in_a_row += 1
    if not is_too_much(b, t):
        move(b, BREAKER_FAILURE)
    elif is_last:
        breaker_close_unproven(b)
    else:
        open_it(b, t, now)


cdef void breaker_end(
    Breaker *b, const BreakerSettings *t, BreakerTicket *attempt, bint is_last, uint64_t now,
) noexcept nogil:
    """Count an attempt that is over. `attempt.result` is final. `is_last`: no other endpoint is
    left."""
    if attempt.epoch != b.epoch or is_off(t):
        return
    if attempt.is_probe and b.state == BREAKER_HALF_OPEN:
        b.n_probing -= 1
    attempt.is_probe = 0
    if attempt.result == RESULT_OK:
        count_well(b, t, now)
    elif attempt.result == RESULT_FAILED or (attempt.result == RESULT_BUSY and t.counts_busy):
        count_failed(b, t, is_last, now)


cdef void breaker_off(Breaker *b) noexcept nogil:
    """Close, and hold nothing against the endpoint."""
    move(b, BREAKER_OFF)
    b.epoch += 1
    b.is_unconfirmed = 0
    b.n_trips = 0
    forget_window(b)


cdef void breaker_restore(
    Breaker *b, const BreakerSettings *t, const Breaker *from_,
) noexcept nogil:
    """`from_`: closed or open. Its window stays behind."""
    if is_off(t) or b.state != BREAKER_CLOSED or b.transitions[<int>BREAKER_OPEN]:
        return
    if from_.state == BREAKER_OPEN:
        move(b, BREAKER_TRIP)
        b.epoch += 1
        b.due_ns = from_.due_ns
    b.n_trips = from_.n_trips
    b.in_a_row = from_.in_a_row
    b.is_unconfirmed = from_.is_unconfirmed


# ---------------------------------------------------------------- slow start


cdef uint64_t slow_start_share(const Endpoint *e, uint64_t now) noexcept nogil:
    """Part of its share that the endpoint may have now, of SHARE_ONE."""
    cdef uint64_t whole = e.upstream.breaker.slow_start_ns
    cdef uint64_t share
    if e.slow_start_ns == 0 or now >= e.slow_start_ns + whole:
        return SHARE_ONE
    share = (now - e.slow_start_ns) * SHARE_ONE // whole if now > e.slow_start_ns else 0
    return share if share > SHARE_MIN else SHARE_MIN


cdef bint slow_start_admits(Endpoint *e, uint64_t now) noexcept nogil:
    """True if the endpoint accepts this request. While it starts slowly most go to others."""
    cdef uint64_t share = slow_start_share(e, now)
    if share == SHARE_ONE:
        e.slow_start_ns = 0
        return 1
    e.slow_start_credit += <uint32_t>share
    if e.slow_start_credit < SHARE_ONE:
        return 0
    e.slow_start_credit -= SHARE_ONE
    return 1


# ---------------------------------------------------------------- attempts


cdef void attempt_begins(Plane *p, Relay *r) noexcept nogil:
    """Count an attempt at the picked endpoint, r.attempt.endpoint."""
    cdef Endpoint *e = r.attempt.endpoint
    cdef uint8_t was = e.breaker.state
    r.attempt.counted = 1
    e.inflight += 1
    e.upstream.n_placed += 1
    breaker_begin(&e.breaker, &e.upstream.breaker, &r.attempt.ticket, p.now_ns)
    p.breaker_changed |= was != e.breaker.state


cdef void note_status(Relay *r, int status) noexcept nogil:
    """Judge the final head of the attempt. If its body is cut, actions.cut judges last."""
    cdef Attempt *a = &r.attempt
    if status == 429 or status == 503:
        a.ticket.result = RESULT_BUSY
    elif status >= 500:
        a.ticket.result = RESULT_NONE if status == 501 or a.endpoint.probe_ok else RESULT_FAILED
    else:
        a.ticket.result = RESULT_OK if status < 400 else RESULT_NONE


cdef bint is_last(const Endpoint *e) noexcept nogil:
    """True if its upstream has no other endpoint in rotation."""
    cdef const Endpoint *other
    cdef uint32_t i
    for i in range(e.upstream.n_endpoints):
        other = e.upstream.endpoints[i]
        if other != e and other.in_rotation and not other.draining \
                and other.breaker.state == BREAKER_CLOSED:
            return 0
    return 1


cdef bint upstream_readmit(Plane *p, Upstream *u) noexcept nogil:
    """Return endpoints to rotation that only their breakers keep out. 0: there is none."""
    cdef Endpoint *e
    cdef uint32_t i
    cdef bint found = 0
    for i in range(u.n_endpoints):
        e = u.endpoints[i]
        if e.in_rotation and not e.draining and e.breaker.state != BREAKER_CLOSED:
            breaker_close_unproven(&e.breaker)
            found = 1
    p.breaker_changed |= found
    return found


cdef void confirm(Plane *p, Attempt *a) noexcept nogil:
    if breaker_confirm(&a.endpoint.breaker, &a.endpoint.upstream.breaker, &a.ticket):
        a.endpoint.slow_start_ns = p.now_ns
        p.breaker_changed = 1


cdef void attempt_answered(Plane *p, Relay *r) noexcept nogil:
    """Note that the answer has begun, as Exchange.first_content_ns has it."""
    if r.attempt.ticket.result != RESULT_BUSY and r.attempt.ticket.result != RESULT_FAILED:
        confirm(p, &r.attempt)


cdef void attempt_ends(Plane *p, Relay *r) noexcept nogil:
    """End an attempt. The one place that does, however it ended."""
    cdef Attempt *a = &r.attempt
    cdef Endpoint *e = a.endpoint
    cdef uint8_t was = e.breaker.state
    invariant(e.inflight > 0)
    e.inflight -= 1
    e.upstream.n_placed -= 1
    a.counted = 0
    if a.ticket.result == RESULT_BUSY:
        limit_busy(r, p.now_ns)
        e.n_busy += 1
        e.deprioritized_until_ns = p.now_ns + <uint64_t>BUSY_MS * <uint64_t>NS_PER_MS
    if a.ticket.result == RESULT_OK:
        if r.x.response_body.done or r.x.was_served or r.x.status == 101:
            confirm(p, a)
        else:
            a.ticket.result = RESULT_NONE
    # Other endpoints matter only to a failure.
    breaker_end(
        &e.breaker, &e.upstream.breaker, &a.ticket, a.ticket.result >= RESULT_BUSY and is_last(e),
        p.now_ns,
    )
    p.breaker_changed |= was != e.breaker.state
