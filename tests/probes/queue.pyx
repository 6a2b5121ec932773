"""The fair queue, shares and limits with nothing around them, for tests only."""

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from zeroproxy._fast.tenants.fair_queue cimport (
    acquire_share,
    fair_queue_ahead,
    fair_queue_next,
    fair_queue_push,
    fair_queue_remove,
    fair_queue_victim,
    release_share,
    share_of,
    share_settle,
    shares_stage,
    shares_use,
)
from zeroproxy._fast.types.meter cimport EXACTNESS_EXACT, EXACTNESS_NONE
from zeroproxy._fast.types.plane cimport Endpoint, FairQueue, Relay, Upstream
from zeroproxy._fast.types.record cimport Record
from zeroproxy._fast.upstream.concurrency_limit cimport limit_begin, limit_busy, limit_observe

cdef enum:
    TENANTS = 4096


cdef class QueueProbe:
    """A fair queue. Relays are numbers, in the order in which they came."""

    cdef FairQueue q
    cdef list relays        # their addresses

    def __cinit__(self):
        memset(&self.q, 0, sizeof(FairQueue))
        shares = shares_stage(&self.q, TENANTS)
        if shares == NULL:
            raise MemoryError
        shares_use(&self.q, shares, TENANTS)
        self.relays = []

    cdef Relay *at(self, int k) except NULL:
        return <Relay *><size_t>self.relays[k]

    cdef object number_of(self, const Relay *r):
        return None if r == NULL else self.relays.index(<size_t>r)

    def come(self, tenant=0, priority=5, again=False, at=None):
        """Make a relay, which does not wait yet; returns its number. `at`: seconds."""
        cdef Relay *r = <Relay *>calloc(1, sizeof(Relay))
        if r == NULL:
            raise MemoryError
        r.x.tenant = tenant
        r.x.priority = priority
        r.x.queued_ns = len(self.relays) if at is None else <uint64_t>(at * 1e9)
        r.x.waiting.is_again = again
        self.relays.append(<size_t>r)
        return len(self.relays) - 1

    def join(self, k):
        if not fair_queue_push(&self.q, self.at(k), 0):
            raise MemoryError

    def join_first(self, k):
        if not fair_queue_push(&self.q, self.at(k), 1):
            raise MemoryError

    def ahead(self, k):
        return fair_queue_ahead(&self.q, self.at(k))

    def leave(self, k):
        fair_queue_remove(&self.q, self.at(k))

    def next(self, most=0):
        return self.number_of(fair_queue_next(&self.q, most))

    def worst(self, k):
        return self.number_of(fair_queue_victim(&self.q, self.at(k)))

    def take(self, k):
        """Acquire a permit for a relay that is in no queue."""
        acquire_share(&self.q, self.at(k))

    def end(self, k, prompt=0, completion=0, counted=True, status=200, size=0):
        """Release the permit and settle the cost."""
        cdef Record record
        memset(&record, 0, sizeof(record))
        record.exactness = EXACTNESS_EXACT if counted else EXACTNESS_NONE
        record.status = status
        record.bytes_out = size
        record.tokens.prompt = prompt
        record.tokens.completion = completion
        release_share(&self.q, self.at(k))
        share_settle(&self.q, self.at(k), &record)

    def share(self, tenant):
        """(served, in flight, queued)"""
        s = share_of(&self.q, tenant)
        return s.virtual_tokens, s.inflight, s.queued

    def waiting(self):
        return self.q.n, self.q.n_tenant_queues

    def __dealloc__(self):
        for address in self.relays:
            free(<void *><size_t>address)
        free(self.q.tenant_queues)
        free(self.q.shares)


cdef class LimitOf:
    """The limit of one endpoint, at times in ns that the test names."""

    cdef Upstream u
    cdef Endpoint e
    cdef Relay r

    def __init__(self, *, max_inflight=0, min_inflight=1, target=0):
        memset(&self.u, 0, sizeof(Upstream))
        memset(&self.e, 0, sizeof(Endpoint))
        memset(&self.r, 0, sizeof(Relay))
        self.e.upstream = &self.u
        self.r.attempt.endpoint = &self.e
        self.change(max_inflight=max_inflight, min_inflight=min_inflight, target=target)

    def change(self, *, max_inflight=0, min_inflight=1, target=0):
        self.u.admission.max_inflight = max_inflight
        self.u.admission.min_inflight = min_inflight
        self.u.admission.ttft_target_ns = target
        limit_begin(&self.e)

    def observe(self, uint64_t began, uint64_t now, inflight=None, streamed=True, status=200):
        """Observe the first byte of an answer to a request sent at `began`. True: one more may be
        sent."""
        self.e.inflight = self.e.limit.now if inflight is None else inflight
        self.r.attempt.began_ns = began
        self.r.x.is_streamed = streamed
        self.r.x.status = status
        return bool(limit_observe(&self.r, now))

    def busy(self, uint64_t began, uint64_t now):
        self.r.attempt.began_ns = began
        limit_busy(&self.r, now)

    @property
    def now(self):
        return self.e.limit.now
