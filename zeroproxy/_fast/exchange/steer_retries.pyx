"""Steering of retries: when a refused caller is to come again, and whether it is of any use.

The official SDKs obey `x-should-retry` first, then `retry-after-ms`, then Retry-After.

Law 1. Retry-After and retry-after-ms name one moment. Above LATEST_MS they stand only beside
       `x-should-retry: false`: some SDKs sleep however long they are told, others come at once.
Law 2. Callers that an overloaded upstream refuses get a moment each, one behind the other: of its
       pace a RETURN_PART is theirs. So they come when there is room, and not all together. Each
       tenant has a row of its own: a flood pushes back none but its own.
Law 3. A moment is spread by a quarter, to both sides; that of a quota only to the later.
Tests: tests/relay/test_steer.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t
from libc.stdio cimport snprintf

from zeroproxy._fast.exchange.exchange_ids cimport next_word
from zeroproxy._fast.tenants.fair_queue cimport share_of
from zeroproxy._fast.tenants.keys_and_quotas cimport quota_wait
from zeroproxy._fast.types.admission_limits cimport TenantShare
from zeroproxy._fast.types.clock cimport NS_PER_MS
from zeroproxy._fast.types.exchange_enums cimport (
    BLAME_OURSELVES,
    BLAME_UPSTREAM,
    CAUSE_OVERLOAD,
    CAUSE_TLS,
)
from zeroproxy._fast.types.http cimport FAULT_QUOTA_REQUESTS, FAULT_QUOTA_TOKENS
from zeroproxy._fast.types.plane cimport FairQueue, Plane, Relay

cdef enum:
    SOON_MS = 1000
    LATEST_MS = 60000
    ABSENT_MOST_MS = 30000  # an endpoint that is out is asked for at least so often
    RETURN_PART = 5         # of the exchanges that an upstream admits: one in so many
    STALL_PART = 32         # a burst may follow a pause: more than the mean gap by so much
    SPREAD = 4              # a part of the time
    MOST_MS = 86400000


cdef uint64_t spread(Plane *p, uint64_t ms, bint only_later) noexcept nogil:
    cdef uint64_t width = ms // SPREAD if only_later else 2 * (ms // SPREAD)
    return (ms if only_later else ms - ms // SPREAD) + next_word(p) % (width + 1)


cdef uint64_t visit_ms(Plane *p, Relay *r) noexcept nogil:
    """Where nobody gets out of the queue for long, the time since the last one counts, too."""
    cdef FairQueue *q = &r.x.upstream.queue
    cdef TenantShare *s = share_of(q, r.x.tenant)
    cdef uint64_t gap = q.departures.gap_ns, stalled = 0
    cdef uint64_t visit = max(s.visit_ns, p.now_ns + SOON_MS * <uint64_t>NS_PER_MS)
    if q.departures.last_ns:
        stalled = p.now_ns - q.departures.last_ns
    visit += RETURN_PART * max(gap, stalled // STALL_PART if gap else stalled)
    if visit - p.now_ns <= LATEST_MS * <uint64_t>NS_PER_MS:
        s.visit_ns = visit
    return min((visit - p.now_ns) // <uint64_t>NS_PER_MS, <uint64_t>MOST_MS)


cdef uint64_t absent_ms(Plane *p, Relay *r) noexcept nogil:
    """An endpoint that was out for so long stays out for about as long again."""
    cdef uint64_t out = 0
    if r.x.upstream != NULL and r.x.upstream.hold.since_ns:
        out = (p.now_ns - r.x.upstream.hold.since_ns) // <uint64_t>NS_PER_MS
    return max(<uint64_t>SOON_MS, min(out, <uint64_t>ABSENT_MOST_MS))


cdef bint is_useless(const Relay *r, int status) noexcept nogil:
    """True where the next try ends the same. SDKs try again after any 5xx."""
    return status == 501 or status == 505 or (status == 502 and r.x.cause == CAUSE_TLS)


cdef size_t write_moment(
    uint64_t ms, bint is_exact, bint is_useful, char *out, size_t cap,
) noexcept nogil:
    cdef uint64_t s = max((ms + 500) // 1000, <uint64_t>1)
    cdef int n = snprintf(out, cap, b"Retry-After: %llu\r\n", <unsigned long long>s)
    if is_exact:
        n += snprintf(out + n, cap - n, b"retry-after-ms: %llu\r\n", <unsigned long long>ms)
    if not is_useful:
        n += snprintf(out + n, cap - n, b"x-should-retry: false\r\n")
    return <size_t>n


cdef size_t write_retry_lines(Plane *p, Relay *r, int status, char *out, size_t cap) noexcept nogil:
    cdef bint is_quota = r.x.fault == FAULT_QUOTA_REQUESTS or r.x.fault == FAULT_QUOTA_TOKENS
    cdef bint steers = r.x.upstream == NULL or r.x.upstream.admission.steers
    cdef uint64_t ms = SOON_MS
    out[0] = 0
    if is_useless(r, status):
        return <size_t>snprintf(out, cap, b"x-should-retry: false\r\n")
    if status != 429 and status != 503 and not (status == 502 and steers):
        return 0
    if is_quota:
        ms = <uint64_t>quota_wait(r.x.key, r.x.fault - FAULT_QUOTA_REQUESTS) * 1000
    elif not steers:
        return write_moment(ms, 0, 1, out, cap)
    elif r.x.cause == CAUSE_OVERLOAD and r.x.blame == BLAME_OURSELVES and r.x.upstream != NULL:
        ms = visit_ms(p, r)
    elif r.x.blame == BLAME_UPSTREAM:
        ms = absent_ms(p, r)
    if ms > LATEST_MS:
        return write_moment(ms, 1, 0, out, cap)
    return write_moment(min(spread(p, ms, is_quota), <uint64_t>LATEST_MS), 1, 1, out, cap)


cdef size_t write_soon_lines(Plane *p, char *out, size_t cap) noexcept nogil:
    return write_moment(spread(p, SOON_MS, 0), 1, 1, out, cap)
