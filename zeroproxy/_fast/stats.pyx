"""Totals, kept in C while exchanges end, so that a scrape costs the data plane nothing.

Law 1. Every label set is bounded: what comes after the cap is counted under "other".
Law 2. Totals are complete: they are updated before the record is offered to the ring.
Law 3. What the ring does not take is spilled: added up by endpoint, model, tenant and exactness, in
       counters that only grow. The flusher's thread reads them without a lock and takes the
       differences: it may see one counter a moment before another, and never loses one.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from zeroproxy._fast.plane cimport Histogram, Record
from zeroproxy._fast.stats cimport (
    ALL_OTHERS,
    BUCKETS,
    SERIES_CAP,
    SPILL_CAP,
    SPILL_NAMED,
    TOKEN_SERIES_CAP,
    Series,
    Spill,
    Stats,
    TokenSeries,
)
from zeroproxy._fast.types cimport EXACTNESS_COUNT


cdef extern from "atomics.h" nogil:
    uint64_t load_acquire "zp_load_acquire"(const uint64_t *at) noexcept
    void store_release "zp_store_release"(uint64_t *at, uint64_t value) noexcept

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


cdef bint stats_knows(const Stats *s, const Record *r) noexcept nogil:
    """Whether tokens were ever counted for the record's model."""
    cdef uint32_t i
    cdef const TokenSeries *t
    for i in range(s.n_tokens):
        t = &s.tokens[i]
        if t.model_len == r.model_len and memcmp(t.model, r.model, r.model_len) == 0:
            return 1
    return 0


cdef TokenSeries *find_tokens(Stats *s, const Record *r) noexcept nogil:
    """Linear: a sidecar serves a handful of models; 256 names take a microsecond."""
    cdef uint32_t i
    cdef TokenSeries *t
    for i in range(s.n_tokens):
        t = &s.tokens[i]
        if t.upstream == ALL_OTHERS:
            return t
        if (
            t.upstream == r.upstream and t.tenant == r.tenant and t.model_len == r.model_len
            and memcmp(t.model, r.model, r.model_len) == 0
        ):
            return t
    t = &s.tokens[s.n_tokens]
    s.n_tokens += 1
    if s.n_tokens == TOKEN_SERIES_CAP:
        t.upstream = ALL_OTHERS
        return t
    t.upstream = r.upstream
    t.tenant = r.tenant
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


# ---------------------------------------------------------------- what the ring did not take


cdef Spill *row_of_others(Stats *s, int exactness) noexcept nogil:
    cdef int k
    cdef Spill *row
    if s.n_spills == SPILL_NAMED:
        for k in range(EXACTNESS_COUNT):
            row = &s.spills[SPILL_NAMED + k]
            row.upstream = row.endpoint = ALL_OTHERS
            row.exactness = <uint8_t>k
        store_release(&s.n_spills, SPILL_CAP)
    return &s.spills[SPILL_NAMED + exactness]


cdef Spill *find_spill(Stats *s, const Record *r) noexcept nogil:
    """What came after the cap is still told apart by its exactness: bills are."""
    cdef uint64_t k
    cdef Spill *row
    for k in range(s.n_spills if s.n_spills < SPILL_NAMED else <uint64_t>SPILL_NAMED):
        row = &s.spills[k]
        if (
            row.endpoint == r.endpoint and row.upstream == r.upstream and row.tenant == r.tenant
            and row.exactness == r.exactness and row.model_len == r.model_len
            and memcmp(row.model, r.model, r.model_len) == 0
        ):
            return row
    if s.n_spills >= SPILL_NAMED:
        return row_of_others(s, r.exactness)
    row = &s.spills[s.n_spills]
    row.exactness = r.exactness
    row.upstream = r.upstream
    row.endpoint = r.endpoint
    row.tenant = r.tenant
    row.model_len = r.model_len
    memcpy(row.model, r.model, r.model_len)
    store_release(&s.n_spills, s.n_spills + 1)
    return row


cdef inline void grow(uint64_t *counter, int64_t by) noexcept nogil:
    if by > 0:
        store_release(counter, counter[0] + <uint64_t>by)


cdef void stats_spill(Stats *s, const Record *r) noexcept nogil:
    """Producer only."""
    cdef Spill *row = find_spill(s, r)
    grow(&row.prompt, r.tokens.prompt)
    grow(&row.completion, r.tokens.completion)
    grow(&row.cached, r.tokens.cached)
    grow(&row.reasoning, r.tokens.reasoning)
    grow(&row.bytes_in, <int64_t>r.bytes_in)
    grow(&row.bytes_out, <int64_t>r.bytes_out)
    grow(&row.count, 1)


cdef uint64_t stats_spills(const Stats *s) noexcept nogil:
    """How many rows there are. Any thread."""
    return load_acquire(&s.n_spills)


cdef void stats_read_spill(const Stats *s, uint64_t row, Spill *out) noexcept nogil:
    """A row as it is now. Any thread."""
    cdef const Spill *from_ = &s.spills[row]
    out[0] = from_[0]
    out.count = load_acquire(&from_.count)
    out.prompt = load_acquire(&from_.prompt)
    out.completion = load_acquire(&from_.completion)
    out.cached = load_acquire(&from_.cached)
    out.reasoning = load_acquire(&from_.reasoning)
    out.bytes_in = load_acquire(&from_.bytes_in)
    out.bytes_out = load_acquire(&from_.bytes_out)
