"""Upstreams whose endpoints are all out, and the pace at which one that is back gets those that
wait. The queue itself is exchange/permits.pyx's, the moves are exchange/hold.pyx's.

Law 1. An endpoint is out by health, by the operator, or because it refuses connections. A breaker
       alone keeps none out: it never shuts the last one (breaker.pyx, law 5).
Law 2. One that refuses connections is tried with one request at a time, at growing distances. It is
       back with the start of an answer, or with a good health probe.
Law 3. One that is back does not get all that waits at once. While it starts slowly, the part that
       was let go is at most its part of its share. A half open breaker is waited for.
Tests: tests/relay/test_hold.py, tests/relay/test_hold_release.py.
"""

from libc.stdint cimport uint32_t, uint64_t

from zeroproxy._fast.net.timer cimport timer_disarm, timer_no_later
from zeroproxy._fast.types.clock cimport NS_PER_MS, NS_PER_S
from zeroproxy._fast.types.hold cimport DOUBT_REFUSES
from zeroproxy._fast.types.plane cimport Endpoint, Plane, Relay, Upstream
from zeroproxy._fast.upstream.breaker cimport (
    BREAKER_CLOSED,
    BREAKER_HALF_OPEN,
    SHARE_ONE,
    breaker_admits,
    slow_start_share,
)

cdef uint64_t FIRST_TRIAL_NS = 100 * <uint64_t>NS_PER_MS
cdef uint64_t LAST_TRIAL_NS = <uint64_t>NS_PER_S
cdef uint64_t STEP_LEAST_NS = 10 * <uint64_t>NS_PER_MS     # between two looks at the share
cdef uint64_t STEP_MOST_NS = 250 * <uint64_t>NS_PER_MS
cdef uint64_t OTHERS_FIRST_NS = <uint64_t>NS_PER_S


cdef inline bint is_in(const Endpoint *e) noexcept nogil:
    return e.in_rotation and not e.draining


cdef bint hold_has_endpoint(const Upstream *u) noexcept nogil:
    cdef uint32_t i
    for i in range(u.n_endpoints):
        if is_in(u.endpoints[i]) and u.endpoints[i].doubt != DOUBT_REFUSES:
            return 1
    return 0


cdef bint may_try(const Upstream *u) noexcept nogil:
    """True if an endpoint is out only because it refuses connections."""
    cdef uint32_t i
    for i in range(u.n_endpoints):
        if is_in(u.endpoints[i]):
            return 1
    return 0


cdef enum Passage:
    PASSAGE_NONE = 0        # every endpoint that is back waits for the answers to its probes
    PASSAGE_PROBE           # one may go, and will be a probe
    PASSAGE_FREE


cdef Passage breakers_admit(const Upstream *u, uint64_t now) noexcept nogil:
    """A permit without an attempt yet may become a probe. Open breakers are closed by those that
    find no other endpoint (breaker.pyx, law 5)."""
    cdef const Endpoint *e
    cdef bint may_probe = 0, is_proving = 0
    cdef uint32_t i
    for i in range(u.n_endpoints):
        e = u.endpoints[i]
        if not is_in(e):
            continue
        if e.breaker.state == BREAKER_CLOSED:
            return PASSAGE_FREE
        may_probe |= breaker_admits(&e.breaker, &u.breaker, now)
        is_proving |= e.breaker.state == BREAKER_HALF_OPEN
    if (may_probe and u.inflight <= u.n_placed) or not (may_probe or is_proving):
        return PASSAGE_PROBE
    return PASSAGE_NONE


cdef uint64_t best_share(const Upstream *u, uint64_t now) noexcept nogil:
    cdef uint64_t best = 0, share
    cdef uint32_t i
    for i in range(u.n_endpoints):
        if is_in(u.endpoints[i]):
            share = slow_start_share(u.endpoints[i], now)
            best = share if share > best else best
    return best


cdef bint hold_admits(Upstream *u, uint64_t now) noexcept nogil:
    """The first goes at once: a share of one is nobody's."""
    cdef Passage passage
    cdef uint64_t share
    if u.hold.since_ns:
        return may_try(u) and not u.hold.has_trial and now >= u.hold.trial_ns
    passage = breakers_admit(u, now)
    if passage == PASSAGE_NONE:
        return 0
    share = best_share(u, now)
    if share >= SHARE_ONE:
        u.hold.is_on = passage != PASSAGE_FREE
        return 1
    return u.hold.n_let_go == 0 or \
        (u.hold.n_let_go + 1) * <uint64_t>SHARE_ONE <= (u.hold.n_let_go + u.queue.n) * share


cdef void hold_let_go(Upstream *u, Relay *r) noexcept nogil:
    if u.hold.since_ns == 0:
        u.hold.n_let_go += 1
    elif r.x.waiting.hold_ns:
        u.hold.has_trial = r.x.waiting.is_trial = 1


cdef void hold_trial_ends(Upstream *u, Relay *r, uint64_t now) noexcept nogil:
    r.x.waiting.is_trial = 0
    u.hold.has_trial = 0
    u.hold.trial_ns = now + u.hold.wait_ns
    u.hold.wait_ns = min(2 * u.hold.wait_ns, LAST_TRIAL_NS)


cdef void hold_begin(Upstream *u, uint64_t now) noexcept nogil:
    u.hold.since_ns = now
    u.hold.is_on = 1
    u.hold.has_trial = 0
    u.hold.wait_ns = FIRST_TRIAL_NS
    u.hold.trial_ns = now + FIRST_TRIAL_NS


cdef void hold_end(Upstream *u, uint64_t now) noexcept nogil:
    cdef Endpoint *e
    cdef uint32_t i
    u.hold.since_ns = 0
    u.hold.back_ns = now
    u.hold.n_let_go = 0
    u.hold.is_on = u.queue.n != 0
    for i in range(u.n_endpoints):
        e = u.endpoints[i]
        if u.hold.is_on and is_in(e) and e.slow_start_ns == 0:
            e.slow_start_ns = now


cdef void hold_rest(Plane *p, Upstream *u) noexcept nogil:
    u.hold.is_on = u.hold.since_ns != 0
    timer_disarm(&p.wheel, &u.hold.timer)


cdef void hold_arm(Plane *p, Upstream *u) noexcept nogil:
    cdef uint64_t step
    if u.hold.since_ns == 0:
        step = u.breaker.slow_start_ns // (u.hold.n_let_go + u.queue.n)
        step = max(STEP_LEAST_NS, min(step, STEP_MOST_NS))
        timer_no_later(&p.wheel, &u.hold.timer, p.now_ns + step)
    elif not u.hold.has_trial and may_try(u):
        timer_no_later(&p.wheel, &u.hold.timer, max(u.hold.trial_ns, p.now_ns + 1))


cdef void hold_doubt(Endpoint *e, uint64_t now) noexcept nogil:
    e.doubt = DOUBT_REFUSES
    e.deprioritized_until_ns = now + OTHERS_FIRST_NS
