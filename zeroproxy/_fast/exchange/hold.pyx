"""Hold: where no endpoint takes requests they wait in the queue, for admission.hold_when_down.

Law 1. Those that wait are in the fair queue, under its bound and in its order. Of a body no more is
       read than the replay buffer holds.
Law 2. A request goes back to the queue only if no endpoint can have worked on it. That is where
       the connect failed, or where an endpoint in doubt sent a 503: servers do while they load.
       One that is held whole, without a byte of an answer; it is first in its turn again.
Law 3. A drain of the proxy ends those that wait, and nobody begins to wait in one.
Law 4. A move is made once for all: when the last endpoint goes, and when the first is back.
Tests: tests/relay/test_hold.py, tests/relay/test_hold_release.py.
"""

from libc.stdint cimport uint32_t

from zeroproxy._fast.exchange.attempt_release cimport release_attempt
from zeroproxy._fast.exchange.deadlines cimport arm
from zeroproxy._fast.exchange.permits cimport (
    acquire_permit,
    admit_waiting,
    enqueue,
    leave_queue,
    take_permit_back,
)
from zeroproxy._fast.exchange.relay_pool cimport relay_later
from zeroproxy._fast.exchange.state_machine cimport RetryFacts, may_retry
from zeroproxy._fast.net.timer cimport timer_init
from zeroproxy._fast.types.exchange_enums cimport CAUSE_TLS, PHASE_QUEUED
from zeroproxy._fast.types.hold cimport DOUBT_NONE, DOUBT_REFUSES
from zeroproxy._fast.types.plane cimport Endpoint, Plane, Relay, Upstream
from zeroproxy._fast.upstream.breaker cimport RESULT_BUSY
from zeroproxy._fast.upstream.hold_state cimport (
    hold_arm,
    hold_begin,
    hold_doubt,
    hold_end,
    hold_has_endpoint,
)


cdef void hold_due(void *plane, void *owner) noexcept nogil:
    admit_waiting(<Plane *>plane, <Upstream *>owner)


cdef void hold_init(Upstream *u) noexcept nogil:
    timer_init(&u.hold.timer, hold_due, u)


cdef bint hold_is_waiting(const Relay *r) noexcept nogil:
    return r.x.phase == PHASE_QUEUED and r.x.is_queued and r.x.upstream.hold.since_ns != 0


# ---------------------------------------------------------------- moves of an upstream


cdef void go_down(Plane *p, Upstream *u) noexcept nogil:
    """Exchanges in the queue that may not be held get a permit, and with it the refusal."""
    cdef Relay *r
    cdef Relay *following
    cdef uint32_t k = u.queue.n_tenant_queues
    hold_begin(u, p.now_ns)
    # A tenant queue that becomes empty is replaced by the last one, which was seen before.
    while k:
        k -= 1
        following = u.queue.tenant_queues[k].fifo.head
        while following != NULL:
            r = following
            following = r.queue_next
            if r.x.waiting.hold_ns == 0 or p.draining:
                leave_queue(p, r)
                acquire_permit(p, r)
                relay_later(p, r)
            elif not r.x.waiting.was_held:
                r.x.waiting.was_held = 1
                u.hold.n_held += 1
    if u.queue.n:
        hold_arm(p, u)


cdef void come_back(Plane *p, Upstream *u) noexcept nogil:
    """The deadlines of those that wait count from now on (deadlines.pyx)."""
    cdef Relay *r
    cdef uint32_t k
    hold_end(u, p.now_ns)
    for k in range(u.queue.n_tenant_queues):
        r = u.queue.tenant_queues[k].fifo.head
        while r != NULL:
            arm(p, r)
            r = r.queue_next
    admit_waiting(p, u)


cdef void hold_review(Plane *p, Upstream *u) noexcept nogil:
    cdef bint has_endpoint = hold_has_endpoint(u)
    if has_endpoint and u.hold.since_ns:
        come_back(p, u)
    elif not has_endpoint and u.hold.since_ns == 0:
        go_down(p, u)


cdef void hold_trust(Plane *p, Endpoint *e) noexcept nogil:
    cdef bint was_out = e.doubt == DOUBT_REFUSES
    e.doubt = DOUBT_NONE
    if was_out:
        e.slow_start_ns = p.now_ns
        e.deprioritized_until_ns = 0
        hold_review(p, e.upstream)


cdef void hold_answered(Plane *p, Relay *r) noexcept nogil:
    if r.x.status != 503:
        hold_trust(p, r.attempt.endpoint)
    if r.x.upstream.queue.n:
        admit_waiting(p, r.x.upstream)


# ---------------------------------------------------------------- moves of an exchange


cdef bint may_wait(const Plane *p, const Relay *r) noexcept nogil:
    return r.x.waiting.hold_ns != 0 and not p.draining and r.x.replayable and not r.x.head_sent


cdef bint hold_takes_lost(Plane *p, Relay *r, const RetryFacts *a, int why) noexcept nogil:
    """Another endpoint is tried first, as far as there are attempts."""
    if r.x.waiting.hold_ns == 0 or a.connected or why == CAUSE_TLS:
        return 0
    hold_doubt(r.attempt.endpoint, p.now_ns)
    hold_review(p, r.x.upstream)
    return may_wait(p, r) and (r.x.upstream.hold.since_ns != 0 or not may_retry(a))


cdef bint hold_takes_busy(Plane *p, Relay *r) noexcept nogil:
    cdef Endpoint *e = r.attempt.endpoint
    if p.response_head.status != 503 or e.doubt == DOUBT_NONE or not may_wait(p, r):
        return 0
    e.n_failures += 1
    r.attempt.ticket.result = RESULT_BUSY
    hold_doubt(e, p.now_ns)
    hold_review(p, r.x.upstream)
    return 1


cdef int hold_again(Plane *p, Relay *r) noexcept nogil:
    """Its attempts are counted from here on anew. A permit that comes to nothing costs nothing."""
    cdef Upstream *u = r.x.upstream
    cdef int found
    release_attempt(p, r)
    r.x.n_attempts = 0
    r.x.needs_fresh_conn = 0
    take_permit_back(p, r)
    found = enqueue(p, r, 1)
    admit_waiting(p, u)
    return found
