"""Totals, kept in C while exchanges end, so that a scrape costs the data plane nothing.

Law 1. Every label set is bounded: what comes after the cap is counted under "other".
Law 2. Totals are complete: they are updated before the record is offered to the ring.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from zeroproxy._fast.plane cimport Histogram, Record
from zeroproxy._fast.stats cimport (
    ALL_OTHERS,
    BUCKETS,
    SERIES_CAP,
    TOKEN_SERIES_CAP,
    Series,
    Stats,
    TokenSeries,
)

cdef enum:
    MS = 1000000

# One scale for every duration: 250 us to an hour, three steps per decade where users look.
cdef uint64_t[BUCKETS - 1] BOUNDS = [
    MS // 4, MS // 2, 1 * MS, <uint64_t>(5 * MS) // 2, 5 * MS, 10 * MS, 25 * MS, 50 * MS,
    100 * MS, 250 * MS, 500 * MS, 1000 * MS, <uint64_t>2500 * MS, <uint64_t>5000 * MS,
    <uint64_t>10000 * MS, <uint64_t>30000 * MS, <uint64_t>60000 * MS, <uint64_t>120000 * MS,
    <uint64_t>300000 * MS, <uint64_t>600000 * MS, <uint64_t>1200000 * MS,
    <uint64_t>1800000 * MS, <uint64_t>3600000 * MS,
]


cdef uint64_t histogram_bound(int bucket) noexcept nogil:
    """Upper bound of a bucket in ns, inclusive; 0 for the last one (+Inf)."""
    return BOUNDS[bucket] if bucket < BUCKETS - 1 else 0


cdef void histogram_add(Histogram *h, uint64_t ns) noexcept nogil:
    cdef int low = 0, high = BUCKETS - 1, middle
    while low < high:
        middle = (low + high) >> 1
        if ns <= BOUNDS[middle]:
            high = middle
        else:
            low = middle + 1
    h.counts[low] += 1
    h.sum_ns += ns
    h.n += 1


cdef Series *find_series(Stats *s, const Record *r) noexcept nogil:
    cdef uint32_t h = r.endpoint * 31 + r.status
    cdef Series *e
    h = (h * 31 + r.blame) * 31 + r.phase * 16 + r.cause
    h *= <uint32_t>2654435761
    while True:
        e = &s.series[h >> 22]
        if e.count == 0:
            if s.n_series >= SERIES_CAP:
                return NULL
            s.n_series += 1
            e.upstream = r.upstream
            e.endpoint = r.endpoint
            e.status = r.status
            e.blame = r.blame
            e.phase = r.phase
            e.cause = r.cause
            return e
        if (
            e.endpoint == r.endpoint and e.upstream == r.upstream and e.status == r.status
            and e.blame == r.blame and e.phase == r.phase and e.cause == r.cause
        ):
            return e
        h += <uint32_t>1 << 22


cdef TokenSeries *find_tokens(Stats *s, const Record *r) noexcept nogil:
    """Linear: a sidecar serves a handful of models; 256 names take a microsecond."""
    cdef uint32_t i
    cdef TokenSeries *t
    for i in range(s.n_tokens):
        t = &s.tokens[i]
        if t.upstream == ALL_OTHERS:
            return t
        if (
            t.upstream == r.upstream and t.model_len == r.model_len
            and memcmp(t.model, r.model, r.model_len) == 0
        ):
            return t
    t = &s.tokens[s.n_tokens]
    s.n_tokens += 1
    if s.n_tokens == TOKEN_SERIES_CAP:
        t.upstream = ALL_OTHERS
        return t
    t.upstream = r.upstream
    t.model_len = r.model_len
    memcpy(t.model, r.model, r.model_len)
    return t


cdef void stats_count(Stats *s, const Record *r) noexcept nogil:
    cdef Series *e = find_series(s, r)
    cdef TokenSeries *t
    if e != NULL:
        e.count += 1
    else:
        s.n_overflow += 1
    if r.tokens.prompt < 0 and r.tokens.completion < 0:
        return
    t = find_tokens(s, r)
    t.prompt += r.tokens.prompt if r.tokens.prompt > 0 else 0
    t.completion += r.tokens.completion if r.tokens.completion > 0 else 0
    t.cached += r.tokens.cached if r.tokens.cached > 0 else 0
    t.reasoning += r.tokens.reasoning if r.tokens.reasoning > 0 else 0
