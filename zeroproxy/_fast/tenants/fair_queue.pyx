"""The fair queue: relays that wait for a permit, served by priority, then fair between tenants.

Each tenant has a virtual token counter (Sheng et al., Fairness in Serving Large Language Models,
OSDI 2024). It adds the prompt tokens and twice the completion tokens that the tenant was served.
The tenant with the smallest counter is served first.

Law 1. A pause earns no credit: the counter of a tenant that comes back is raised to that of the
       last one admitted.
Law 2. An exchange is charged the usual cost of its tenant when it is admitted, and corrected when
       it ends. So a hundred long ones at once do not count as nothing until the first has ended.
Law 3. The lower number is the higher priority, strictly: a relay waits while one of a higher
       priority does, or until admission.queue_timeout.
Law 4. A full queue displaces a relay for a tenant that has fewer in it. It is of the lowest
       priority, the latest of the tenant that has most. So one tenant cannot fill it for all.
Law 5. Of one tenant and priority, a request that its caller's SDK has sent before counts as
       AGAIN_NS younger. So first attempts go first where many wait, and no retry waits for ever.
Tests: tests/unit/test_fair_queue.py.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, realloc
from libc.string cimport memcpy, memset

from zeroproxy._fast.tenants.fifo cimport fifo_push, fifo_push_first, fifo_remove
from zeroproxy._fast.types.admission_limits cimport TenantShare
from zeroproxy._fast.types.clock cimport NS_PER_S
from zeroproxy._fast.types.hold cimport Departures
from zeroproxy._fast.types.meter cimport EXACTNESS_NONE
from zeroproxy._fast.types.plane cimport FairQueue, Relay, TenantQueue
from zeroproxy._fast.types.record cimport Record

cdef enum:
    COST_FIRST = 256        # tokens of an exchange, as long as none has ended
    COST_MOST = 1 << 30
    BYTES_PER_TOKEN = 4     # where the server does not count
    GAPS = 64               # the mean is over: engines end what they began together in bursts

cdef uint64_t AGAIN_NS = 5 * <uint64_t>NS_PER_S


# ---------------------------------------------------------------- shares


cdef TenantShare *share_of(FairQueue *q, uint16_t tenant) noexcept nogil:
    """The Engine API grows the shares before it puts a new tenant in force."""
    return &q.shares[tenant] if tenant and tenant < q.n_shares else &q.common


cdef TenantShare *shares_stage(const FairQueue *q, uint32_t n) noexcept nogil:
    return <TenantShare *>calloc(max(n, q.n_shares, 1), sizeof(TenantShare))


cdef TenantShare *shares_use(FairQueue *q, TenantShare *grown, uint32_t n) noexcept nogil:
    cdef TenantShare *was = q.shares
    if was != NULL:
        memcpy(grown, was, q.n_shares * sizeof(TenantShare))
    q.shares = grown
    q.n_shares = max(n, q.n_shares)
    return was


cdef void catch_up(const FairQueue *q, TenantShare *s) noexcept nogil:
    if s.queued == 0 and s.virtual_tokens < q.clock:
        s.virtual_tokens = q.clock


cdef void acquire_share(FairQueue *q, Relay *r) noexcept nogil:
    cdef TenantShare *s = share_of(q, r.x.tenant)
    catch_up(q, s)
    if s.virtual_tokens > q.clock:
        q.clock = s.virtual_tokens
    r.x.charged = <uint32_t>(s.mean if s.mean else q.mean if q.mean else <int64_t>COST_FIRST)
    s.virtual_tokens += r.x.charged
    s.inflight += 1


cdef void release_share(FairQueue *q, const Relay *r) noexcept nogil:
    share_of(q, r.x.tenant).inflight -= 1


cdef void return_charge(FairQueue *q, Relay *r) noexcept nogil:
    share_of(q, r.x.tenant).virtual_tokens -= r.x.charged
    r.x.charged = 0


cdef int64_t cost_of(const Record *r) noexcept nogil:
    cdef int64_t cost = 1
    if r.exactness == EXACTNESS_NONE:
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


cdef void share_settle(FairQueue *q, const Relay *r, const Record *record) noexcept nogil:
    cdef TenantShare *s = share_of(q, r.x.tenant)
    cdef int64_t cost = cost_of(record)
    s.virtual_tokens += cost - r.x.charged
    s.mean = smooth(s.mean, cost)
    q.mean = smooth(q.mean, cost)


# ---------------------------------------------------------------- queues of tenants


cdef TenantQueue *find_tenant_queue(FairQueue *q, const Relay *r) noexcept nogil:
    cdef TenantQueue *queue
    cdef uint32_t k
    for k in range(q.n_tenant_queues):
        queue = &q.tenant_queues[k]
        if queue.tenant == r.x.tenant and queue.priority == r.x.priority \
                and queue.is_again == r.x.waiting.is_again:
            return queue
    return NULL


cdef TenantQueue *new_tenant_queue(FairQueue *q, const Relay *r) noexcept nogil:
    cdef uint32_t cap
    cdef TenantQueue *grown
    if q.n_tenant_queues == q.cap_tenant_queues:
        cap = q.cap_tenant_queues * 2 if q.cap_tenant_queues else 4
        grown = <TenantQueue *>realloc(q.tenant_queues, cap * sizeof(TenantQueue))
        if grown == NULL:
            return NULL
        q.tenant_queues = grown
        q.cap_tenant_queues = cap
    grown = &q.tenant_queues[q.n_tenant_queues]
    q.n_tenant_queues += 1
    memset(grown, 0, sizeof(TenantQueue))
    grown.tenant = r.x.tenant
    grown.priority = r.x.priority
    grown.is_again = r.x.waiting.is_again
    return grown


cdef bint fair_queue_push(FairQueue *q, Relay *r, bint is_first) noexcept nogil:
    cdef TenantQueue *queue = find_tenant_queue(q, r)
    cdef TenantShare *s = share_of(q, r.x.tenant)
    if queue == NULL:
        queue = new_tenant_queue(q, r)
    if queue == NULL:
        return 0
    catch_up(q, s)
    s.queued += 1
    q.n += 1
    if is_first:
        fifo_push_first(&queue.fifo, r)
    else:
        fifo_push(&queue.fifo, r)
    return 1


cdef void fair_queue_remove(FairQueue *q, Relay *r) noexcept nogil:
    cdef TenantQueue *queue = find_tenant_queue(q, r)
    fifo_remove(&queue.fifo, r)
    share_of(q, r.x.tenant).queued -= 1
    q.n -= 1
    if queue.fifo.head == NULL:
        q.n_tenant_queues -= 1
        queue[0] = q.tenant_queues[q.n_tenant_queues]


cdef inline uint64_t order_ns(const TenantQueue *queue) noexcept nogil:
    return queue.fifo.head.x.queued_ns + (AGAIN_NS if queue.is_again else 0)


cdef bint goes_first(FairQueue *q, const TenantQueue *a, const TenantQueue *b) noexcept nogil:
    cdef int64_t one, other
    if a.priority != b.priority:
        return a.priority < b.priority
    one = share_of(q, a.tenant).virtual_tokens
    other = share_of(q, b.tenant).virtual_tokens
    return one < other or (
        one == other and order_ns(a) < order_ns(b)
    )


cdef Relay *fair_queue_next(FairQueue *q, uint32_t most) noexcept nogil:
    cdef const TenantQueue *best = NULL
    cdef const TenantQueue *queue
    cdef uint32_t k
    for k in range(q.n_tenant_queues):
        queue = &q.tenant_queues[k]
        if most and share_of(q, queue.tenant).inflight >= most:
            continue
        if best == NULL or goes_first(q, queue, best):
            best = queue
    return best.fifo.head if best != NULL else NULL


cdef uint64_t fair_queue_ahead(FairQueue *q, const Relay *r) noexcept nogil:
    """Tenants take turns, so of another tenant count no more than of the relay's own. An estimate
    from below: tenants differ in what they were served."""
    cdef const TenantQueue *queue
    cdef uint64_t n = 0, own = share_of(q, r.x.tenant).queued
    cdef uint32_t k
    for k in range(q.n_tenant_queues):
        queue = &q.tenant_queues[k]
        if queue.priority > r.x.priority:
            continue
        if queue.priority < r.x.priority or queue.tenant == r.x.tenant:
            n += queue.fifo.n if not queue.is_again or r.x.waiting.is_again else 0
        else:
            n += min(<uint64_t>queue.fifo.n, own)
    return n


cdef void fair_queue_departs(FairQueue *q, uint64_t now) noexcept nogil:
    cdef Departures *d = &q.departures
    cdef int64_t mean = <int64_t>d.gap_ns
    if d.last_ns:
        d.n += d.n < GAPS
        d.gap_ns = <uint64_t>(mean + (<int64_t>(now - d.last_ns) - mean) // d.n)
    d.last_ns = now if q.n else 0


cdef uint64_t fair_queue_oldest(const FairQueue *q) noexcept nogil:
    cdef uint64_t oldest = 0, here
    cdef uint32_t k
    for k in range(q.n_tenant_queues):
        here = q.tenant_queues[k].fifo.head.x.queued_ns
        oldest = here if oldest == 0 or here < oldest else oldest
    return oldest


cdef Relay *fair_queue_victim(FairQueue *q, const Relay *r) noexcept nogil:
    cdef const TenantQueue *worst = NULL
    cdef const TenantQueue *queue
    cdef uint32_t k
    for k in range(q.n_tenant_queues):
        queue = &q.tenant_queues[k]
        if worst == NULL or queue.priority > worst.priority or (
            queue.priority == worst.priority
            and share_of(q, queue.tenant).queued > share_of(q, worst.tenant).queued
        ):
            worst = queue
    if worst == NULL or worst.priority < r.x.priority:
        return NULL
    if worst.priority == r.x.priority and \
            share_of(q, worst.tenant).queued <= share_of(q, r.x.tenant).queued + 1:
        return NULL
    return worst.fifo.tail
