"""Who waits for a permit, and whose turn it is: by priority, then fair between tenants by tokens.

Each tenant has a virtual token counter (Sheng et al., Fairness in Serving Large Language Models,
OSDI 2024): prompt tokens plus twice the completion tokens it was served. The smallest goes first.

Law 1. Who comes back after a pause gets no credit for it: the counter is lifted to that of the
       last who was let in.
Law 2. An exchange is charged when it is let in, what its tenant's usually cost, and corrected when
       it ends: so a hundred long ones at once do not count as nothing until the first is over.
Law 3. The lower number is the higher priority, without mercy: a lower one waits until none of a
       higher is left, or admission.queue_timeout.
Law 4. A full queue makes room for who has less in it: of the lowest priority there, the latest of
       the tenant that has most. So nobody can fill it for all.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, realloc
from libc.string cimport memcpy, memset

from zeroproxy._fast.tenants.fifo cimport line_join, line_leave
from zeroproxy._fast.types.admission cimport Share
from zeroproxy._fast.types.meter cimport NONE
from zeroproxy._fast.types.plane cimport Lane, Queue, Relay
from zeroproxy._fast.types.record cimport Record

cdef enum:
    COST_FIRST = 256        # tokens of an exchange, as long as none has ended
    COST_MOST = 1 << 30
    BYTES_PER_TOKEN = 4     # where the server does not count


# ---------------------------------------------------------------- shares


cdef Share *share_of(Queue *q, uint16_t tenant) noexcept nogil:
    """The control plane makes room for every tenant before it admits the first request."""
    return &q.shares[tenant] if tenant and tenant < q.n_shares else &q.common


cdef Share *shares_stage(const Queue *q, uint32_t n) noexcept nogil:
    """Shares of `n` tenants, for shares_use. NULL: no memory."""
    return <Share *>calloc(max(n, q.n_shares, 1), sizeof(Share))


cdef Share *shares_use(Queue *q, Share *grown, uint32_t n) noexcept nogil:
    """Returns those it replaces."""
    cdef Share *was = q.shares
    if was != NULL:
        memcpy(grown, was, q.n_shares * sizeof(Share))
    q.shares = grown
    q.n_shares = max(n, q.n_shares)
    return was


cdef void lift(const Queue *q, Share *s) noexcept nogil:
    if s.queued == 0 and s.served < q.clock:
        s.served = q.clock


cdef void share_take(Queue *q, Relay *r) noexcept nogil:
    """A permit for `r`, which stands in no lane."""
    cdef Share *s = share_of(q, r.tenant)
    lift(q, s)
    if s.served > q.clock:
        q.clock = s.served
    r.charged = <uint32_t>(s.mean if s.mean else q.mean if q.mean else <int64_t>COST_FIRST)
    s.served += r.charged
    s.inflight += 1


cdef void share_return(Queue *q, const Relay *r) noexcept nogil:
    """It gives its permit back."""
    share_of(q, r.tenant).inflight -= 1


cdef int64_t cost_of(const Record *r) noexcept nogil:
    cdef int64_t cost = 1
    if r.exactness == NONE:
        if r.status < 400:
            cost += <int64_t>((r.bytes_in + 2 * r.bytes_out) // BYTES_PER_TOKEN)
    else:
        if r.tokens.prompt > 0:
            cost += r.tokens.prompt
        if r.tokens.completion > 0:
            cost += 2 * r.tokens.completion
    return cost if cost < COST_MOST else <int64_t>COST_MOST


cdef inline int64_t smooth(int64_t mean, int64_t cost) noexcept nogil:
    return mean + (cost - mean) // 8 if mean else cost


cdef void share_settle(Queue *q, const Relay *r, const Record *record) noexcept nogil:
    """It has ended: what it cost is known."""
    cdef Share *s = share_of(q, r.tenant)
    cdef int64_t cost = cost_of(record)
    s.served += cost - r.charged
    s.mean = smooth(s.mean, cost)
    q.mean = smooth(q.mean, cost)


# ---------------------------------------------------------------- lanes


cdef Lane *find_lane(Queue *q, const Relay *r) noexcept nogil:
    cdef uint32_t k
    for k in range(q.n_lanes):
        if q.lanes[k].tenant == r.tenant and q.lanes[k].priority == r.priority:
            return &q.lanes[k]
    return NULL


cdef Lane *new_lane(Queue *q, const Relay *r) noexcept nogil:
    cdef uint32_t cap
    cdef Lane *grown
    if q.n_lanes == q.cap_lanes:
        cap = q.cap_lanes * 2 if q.cap_lanes else 4
        grown = <Lane *>realloc(q.lanes, cap * sizeof(Lane))
        if grown == NULL:
            return NULL
        q.lanes = grown
        q.cap_lanes = cap
    grown = &q.lanes[q.n_lanes]
    q.n_lanes += 1
    memset(grown, 0, sizeof(Lane))
    grown.tenant = r.tenant
    grown.priority = r.priority
    return grown


cdef bint lane_join(Queue *q, Relay *r) noexcept nogil:
    """To the end of its lane; 0: no memory."""
    cdef Lane *lane = find_lane(q, r)
    cdef Share *s = share_of(q, r.tenant)
    if lane == NULL:
        lane = new_lane(q, r)
    if lane == NULL:
        return 0
    lift(q, s)
    s.queued += 1
    q.n += 1
    line_join(&lane.line, r)
    return 1


cdef void lane_leave(Queue *q, Relay *r) noexcept nogil:
    """Out of its lane, from any place in it."""
    cdef Lane *lane = find_lane(q, r)
    line_leave(&lane.line, r)
    share_of(q, r.tenant).queued -= 1
    q.n -= 1
    if lane.line.head == NULL:
        q.n_lanes -= 1
        lane[0] = q.lanes[q.n_lanes]


cdef bint goes_first(Queue *q, const Lane *a, const Lane *b) noexcept nogil:
    cdef int64_t one, other
    if a.priority != b.priority:
        return a.priority < b.priority
    one = share_of(q, a.tenant).served
    other = share_of(q, b.tenant).served
    return one < other or (one == other and a.line.head.queued_ns < b.line.head.queued_ns)


cdef Relay *lane_next(Queue *q, uint32_t most) noexcept nogil:
    """Whose turn it is; NULL: nobody's. `most`: permits one tenant may hold; 0: any number."""
    cdef const Lane *best = NULL
    cdef const Lane *lane
    cdef uint32_t k
    for k in range(q.n_lanes):
        lane = &q.lanes[k]
        if most and share_of(q, lane.tenant).inflight >= most:
            continue
        if best == NULL or goes_first(q, lane, best):
            best = lane
    return best.line.head if best != NULL else NULL


cdef Relay *lane_worst(Queue *q, const Relay *r) noexcept nogil:
    """Who has to go if `r` is to get a place in the full queue; NULL: `r` itself."""
    cdef const Lane *worst = NULL
    cdef const Lane *lane
    cdef uint32_t k
    for k in range(q.n_lanes):
        lane = &q.lanes[k]
        if worst == NULL or lane.priority > worst.priority or (
            lane.priority == worst.priority
            and share_of(q, lane.tenant).queued > share_of(q, worst.tenant).queued
        ):
            worst = lane
    if worst == NULL or worst.priority < r.priority:
        return NULL
    if worst.priority == r.priority and \
            share_of(q, worst.tenant).queued <= share_of(q, r.tenant).queued + 1:
        return NULL
    return worst.line.tail
