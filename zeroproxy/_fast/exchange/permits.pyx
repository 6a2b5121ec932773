"""Permits: an exchange is admitted, waits, or is refused.

Law 1. A permit lives from admission to the last byte from upstream. A free one goes to the next in
       the fair queue (tenants/fair_queue.pyx); a new exchange overtakes none that waits.
Law 2. Where no endpoint is in rotation every exchange gets a permit: an error at once is better
       than one after a wait. Not where admission.hold_when_down lets it wait (hold.pyx).
Law 3. Without limits no exchange waits, and only the limits are read.
Law 4. A caller who would leave before its turn is refused at once (admission.caller_deadline): by
       the pace of the queue, and its place in it.
Law 5. A place of its key comes before a permit (tenants/key_terms.pyx). An exchange that waits for
       one is in no queue of its upstream.
Tests: tests/relay/test_admission.py, tests/relay/test_steer.py, tests/unit/test_fair_queue.py.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from zeroproxy._fast.exchange.relay_pool cimport blame, relay_later
from zeroproxy._fast.tenants.fair_queue cimport (
    acquire_share,
    fair_queue_ahead,
    fair_queue_departs,
    fair_queue_next,
    fair_queue_push,
    fair_queue_remove,
    fair_queue_victim,
    release_share,
    return_charge,
    share_of,
)
from zeroproxy._fast.tenants.key_terms cimport (
    acquire_place,
    count_term,
    next_for_place,
    release_place,
    stop_waiting_for_place,
    wait_for_place,
)
from zeroproxy._fast.types.admission_limits cimport TENANT_SHARE_ONE
from zeroproxy._fast.types.exchange_enums cimport (
    BLAME_DOWNSTREAM,
    BLAME_OURSELVES,
    CAUSE_OVERLOAD,
    CAUSE_REFUSED,
    IN_PERMIT,
    IN_REFUSED,
)
from zeroproxy._fast.types.exchange_limits cimport HEDGES_KEPT, HEDGE_ONE
from zeroproxy._fast.types.http cimport FAULT_KEY_INFLIGHT
from zeroproxy._fast.types.invariant cimport invariant
from zeroproxy._fast.types.key_and_quota cimport ApiKey
from zeroproxy._fast.types.plane cimport FairQueue, Plane, Relay, Upstream
from zeroproxy._fast.upstream.balancer cimport upstream_free_permits
from zeroproxy._fast.upstream.hold_state cimport (
    hold_admits,
    hold_arm,
    hold_let_go,
    hold_rest,
    hold_trial_ends,
)


cdef bint may_admit(Upstream *u, uint32_t *most, Plane *p) noexcept nogil:
    """Return 1 if one more exchange may be in flight. `most`: permits of one tenant; 0: any."""
    cdef int64_t total, free
    most[0] = 0
    if u.hold.is_on and not hold_admits(u, p.now_ns):
        return 0
    if u.admission.max_inflight == 0 and u.admission.ttft_target_ns == 0:
        return 1
    free = upstream_free_permits(u, p.now_ns, &total)
    if total == 0:
        return 1
    if u.admission.tenant_share < TENANT_SHARE_ONE:
        total = total * u.admission.tenant_share // TENANT_SHARE_ONE
        most[0] = <uint32_t>total if total else 1
    # A hedge is an attempt beyond the permits.
    return free > (u.inflight - u.n_placed if u.inflight > u.n_placed else 0)


cdef inline void earn_hedge(Upstream *u) noexcept nogil:
    u.hedge_credit += u.hedge_share
    if u.hedge_credit > HEDGES_KEPT * HEDGE_ONE:
        u.hedge_credit = HEDGES_KEPT * HEDGE_ONE


cdef void acquire_permit(Plane *p, Relay *r) noexcept nogil:
    r.x.upstream.inflight += 1
    p.counters.permits += 1
    r.x.holds_permit = 1
    r.x.admitted_ns = p.now_ns
    if r.x.upstream.hold.is_on:
        hold_let_go(r.x.upstream, r)
    earn_hedge(r.x.upstream)
    acquire_share(&r.x.upstream.queue, r)


cdef int enqueue(Plane *p, Relay *r, bint is_back) noexcept nogil:
    """Queue `r`, in the place of another relay if need be."""
    cdef Upstream *u = r.x.upstream
    cdef Relay *other = NULL
    if u.queue.n >= u.admission.queue_max:
        other = fair_queue_victim(&u.queue, r)
    if (u.queue.n >= u.admission.queue_max and other == NULL) or not fair_queue_push(
        &u.queue, r, is_back
    ):
        blame(r, BLAME_OURSELVES, CAUSE_OVERLOAD)
        return IN_REFUSED
    r.x.is_queued = 1
    if u.queue.n == 1:
        u.queue.departures.last_ns = p.now_ns
    if u.hold.since_ns and not r.x.waiting.was_held:
        r.x.waiting.was_held = 1
        u.hold.n_held += 1
    if other != NULL:
        u.queue.n_displaced += 1
        leave_queue(p, other)
        blame(other, BLAME_OURSELVES, CAUSE_OVERLOAD)
        relay_later(p, other)
    if u.hold.is_on:
        hold_arm(p, u)
    return NOTHING


cdef bint lacks_time(const Plane *p, Relay *r) noexcept nogil:
    """The pace is no sign while the queue waits for an endpoint, or is let go slowly."""
    cdef FairQueue *q = &r.x.upstream.queue
    cdef uint64_t leaves_ns = r.x.began_ns + r.x.waiting.patience_ns
    if r.x.waiting.patience_ns == 0 or r.x.upstream.hold.is_on:
        return 0
    return p.now_ns + (fair_queue_ahead(q, r) + 1) * q.departures.gap_ns >= leaves_ns


cdef int ask_permit(Plane *p, Relay *r) noexcept nogil:
    cdef Upstream *u = r.x.upstream
    cdef uint32_t most
    cdef bint is_free = may_admit(u, &most, p)
    cdef int found
    if u.hold.since_ns and r.x.waiting.hold_ns == 0:
        acquire_permit(p, r)
        return IN_PERMIT
    if is_free and u.queue.n == 0 and (most == 0 or share_of(&u.queue, r.x.tenant).inflight < most):
        acquire_permit(p, r)
        return IN_PERMIT
    if lacks_time(p, r):
        r.x.waiting.lacks_time = 1
        u.queue.departures.n_too_late += 1
        blame(r, BLAME_OURSELVES, CAUSE_OVERLOAD)
        return IN_REFUSED
    found = enqueue(p, r, 0)
    if is_free and found == NOTHING:
        admit_waiting(p, u)
    return found


cdef int admit(Plane *p, Relay *r) noexcept nogil:
    r.x.queued_ns = p.now_ns
    if p.draining:
        r.x.asks_close = 1
    if acquire_place(r):
        return ask_permit(p, r)
    if wait_for_place(r, r.x.upstream.admission.queue_max):
        return NOTHING
    return refuse_place(r)


cdef int refuse_place(Relay *r) noexcept nogil:
    r.x.fault = FAULT_KEY_INFLIGHT
    count_term(r.x.key, FAULT_KEY_INFLIGHT)
    blame(r, BLAME_DOWNSTREAM, CAUSE_REFUSED)
    return IN_REFUSED


cdef void admit_waiting(Plane *p, Upstream *u) noexcept nogil:
    cdef Relay *r
    cdef uint32_t most
    while u.queue.n and may_admit(u, &most, p):
        r = fair_queue_next(&u.queue, most)
        if r == NULL:
            break
        leave_queue(p, r)
        fair_queue_departs(&u.queue, p.now_ns)
        acquire_permit(p, r)
        relay_later(p, r)
    if u.hold.is_on and u.queue.n:
        hold_arm(p, u)


cdef void leave_queue(Plane *p, Relay *r) noexcept nogil:
    cdef Upstream *u = r.x.upstream
    stop_waiting_for_place(r)
    if not r.x.is_queued:
        return
    r.x.is_queued = 0
    fair_queue_remove(&u.queue, r)
    if u.queue.n == 0 and (u.hold.is_on or u.hold.timer.due_ns):
        hold_rest(p, u)


cdef void end_permit(Plane *p, Relay *r) noexcept nogil:
    cdef Upstream *u = r.x.upstream
    r.x.holds_permit = 0
    p.counters.permits -= 1
    invariant(u.inflight > 0)
    u.inflight -= 1
    release_share(&u.queue, r)
    if r.x.waiting.is_trial:
        hold_trial_ends(u, r, p.now_ns)


cdef void release_permit(Plane *p, Relay *r) noexcept nogil:
    if r.x.holds_permit:
        end_permit(p, r)
        admit_waiting(p, r.x.upstream)


cdef void take_permit_back(Plane *p, Relay *r) noexcept nogil:
    cdef Upstream *u = r.x.upstream
    end_permit(p, r)
    return_charge(&u.queue, r)
    r.x.admitted_ns = 0
    u.hedge_credit -= min(u.hedge_credit, u.hedge_share)


cdef void pass_place_on(Plane *p, Relay *r) noexcept nogil:
    cdef ApiKey *k = r.x.key
    cdef Relay *next_
    if not release_place(r):
        return
    next_ = next_for_place(k)
    while next_ != NULL:
        if ask_permit(p, next_) != NOTHING:
            relay_later(p, next_)
        next_ = next_for_place(k)
