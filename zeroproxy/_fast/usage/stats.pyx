"""Totals, kept in C while exchanges end, so that a scrape costs the data plane nothing.

Law 1. Every label set is bounded, and nothing is allocated here: the control plane makes the tables
       as large as the configuration needs.
Law 2. Totals are complete: they are updated before the record is offered to the ring.
Law 3. Tokens stay their tenant's, whatever the model. Without a row of its own a model is added to
       the tenant's totals. Models that are not configured, which callers may make up, have a few
       rows of each tenant and take none from the others.
Law 4. The rows of an endpoint that was removed go when their places are needed.
Tests: tests/relay/test_totals.py.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from zeroproxy._fast.types.histogram cimport Histogram
from zeroproxy._fast.types.plane cimport Plane
from zeroproxy._fast.types.record cimport Record
from zeroproxy._fast.usage.overflow cimport overflow_close, overflow_init
from zeroproxy._fast.usage.stats cimport (
    BUCKETS,
    GUESTS_LEAST,
    GUESTS_MOST,
    KNOWN_SIZE,
    SERIES_EACH,
    SERIES_FIRST,
    SERIES_MOST,
    TOKENS_FIRST,
    TOKENS_MOST,
    Series,
    SeriesTable,
    Stats,
    TenantTotals,
    TokenSeries,
    TokenSums,
    TokenTable,
)


cdef extern from "hash.h" nogil:
    uint64_t zp_hash(const void *at, size_t len)
    uint64_t zp_mix(uint64_t a, uint64_t b)

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


cdef int stats_init(Stats *s) noexcept nogil:
    """Allocate the tables. -1: no memory; close it all the same."""
    cdef TokenTable none
    memset(&none, 0, sizeof(none))
    if series_stage(&s.series, &s.series, 0) < 0:
        return -1
    if tokens_stage(&s.tokens, &none, 1, 0) < 0:
        return -1
    return overflow_init(&s.overflow)


cdef void stats_close(Stats *s) noexcept nogil:
    free(s.series.at)
    tokens_free(&s.tokens)
    overflow_close(&s.overflow)


# ---------------------------------------------------------------- requests_total


cdef inline bint is_same(const Series *a, const Series *b) noexcept nogil:
    return (
        a.endpoint == b.endpoint and a.upstream == b.upstream and a.status == b.status
        and a.blame == b.blame and a.phase == b.phase and a.cause == b.cause
    )


cdef Series *place(const SeriesTable *t, const Series *k) noexcept nogil:
    """Place of this series, or a free one for it."""
    cdef uint32_t h = k.endpoint * 31 + k.status
    h = (h * 31 + k.blame) * 31 + k.phase * 16 + k.cause
    h = (h * <uint32_t>2654435761) >> t.shift
    while t.at[h].count and not is_same(&t.at[h], k):
        h = (h + 1) & t.mask
    return &t.at[h]


cdef bint count_request(SeriesTable *t, const Record *r) noexcept nogil:
    """Count a request. 0: there is no place."""
    cdef Series k
    cdef Series *found
    k.count = 0
    k.upstream = r.upstream
    k.endpoint = r.endpoint
    k.status = r.status
    k.blame = r.blame
    k.phase = r.phase
    k.cause = r.cause
    found = place(t, &k)
    if found.count == 0:
        if t.n > t.mask - t.mask // 4:
            return 0
        t.n += 1
        found[0] = k
    found.count += 1
    return 1


cdef int series_stage(SeriesTable *grown, const SeriesTable *now, uint32_t n) noexcept nogil:
    """Allocate a table for `n` endpoints in force, if the present one is too small or half full;
    else NULL in `grown.at`. -1: no memory."""
    cdef uint32_t size = SERIES_FIRST, bits = 0
    while size < SERIES_EACH * n and size < SERIES_MOST:
        size *= 2
    if now.at != NULL and size <= now.mask + 1:
        size = now.mask + 1
        if now.n < size // 2:
            grown.at = NULL
            return 0
    while (<uint32_t>1 << bits) < size:
        bits += 1
    grown.at = <Series *>calloc(size, sizeof(Series))
    grown.n = 0
    grown.mask = size - 1
    grown.shift = 32 - bits
    return 0 if grown.at != NULL else -1


cdef bint is_gone(const Plane *p, const Series *s) noexcept nogil:
    return s.endpoint < p.n_endpoints and p.endpoints[s.endpoint].removed \
        and p.endpoints[s.endpoint].inflight == 0


cdef void series_move(SeriesTable *grown, const SeriesTable *now, const Plane *p) noexcept nogil:
    """Copy the rows of all but the endpoints that are gone (law 4)."""
    cdef uint32_t i
    for i in range(now.mask + 1):
        if now.at[i].count and not is_gone(p, &now.at[i]):
            place(grown, &now.at[i])[0] = now.at[i]
            grown.n += 1


# ---------------------------------------------------------------- models


cdef bint is_configured(const Stats *s, const Record *r) noexcept nogil:
    cdef uint32_t i
    for i in range(s.n_routes):
        if s.routes[i].len == r.model_len \
                and memcmp(s.routes[i].model, r.model, r.model_len) == 0:
            return 1
    return 0


cdef inline uint64_t hash_of(const Record *r) noexcept nogil:
    """Hash of the model; never 0."""
    return zp_hash(r.model, r.model_len) | 1


cdef bint stats_knows(const Stats *s, const Record *r) noexcept nogil:
    """True if the record's model is configured, or tokens were ever counted for it."""
    cdef uint64_t hash = hash_of(r)
    cdef uint32_t k = <uint32_t>(hash >> 32) & (KNOWN_SIZE - 1)
    while s.known[k]:
        if s.known[k] == hash:
            return 1
        k = (k + 1) & (KNOWN_SIZE - 1)
    return is_configured(s, r)


cdef void learn(Stats *s, const Record *r) noexcept nogil:
    cdef uint64_t hash = hash_of(r)
    cdef uint32_t k = <uint32_t>(hash >> 32) & (KNOWN_SIZE - 1)
    while s.known[k] and s.known[k] != hash:
        k = (k + 1) & (KNOWN_SIZE - 1)
    if s.known[k] == 0 and s.n_known < KNOWN_SIZE // 2:
        s.known[k] = hash
        s.n_known += 1


# ---------------------------------------------------------------- tokens_total


cdef inline uint32_t spot(const TokenTable *t, const Record *r) noexcept nogil:
    """Place where the search for its row begins."""
    cdef uint64_t whose = <uint64_t>r.upstream << 16 | r.tenant
    return <uint32_t>(zp_mix(hash_of(r), whose ^ 0x9E3779B97F4A7C15ULL) >> 32) & t.mask


cdef inline bint is_row_of(const TokenSeries *t, const Record *r) noexcept nogil:
    return (
        t.upstream == r.upstream and t.tenant == r.tenant and t.model_len == r.model_len
        and memcmp(t.model, r.model, r.model_len) == 0
    )


cdef TokenSeries *new_row(Stats *s, const Record *r, uint32_t at) noexcept nogil:
    """A row for the record's model; NULL: it is added to the tenant's totals."""
    cdef TokenTable *t = &s.tokens
    cdef TokenSeries *row
    cdef bint is_guest = not is_configured(s, r)
    if t.n == t.cap or (is_guest and t.tenants[r.tenant].n_guests >= t.guests_each):
        return NULL
    row = &t.rows[t.n]
    t.n += 1
    t.index[at] = t.n
    t.tenants[r.tenant].n_guests += is_guest
    memset(row, 0, sizeof(TokenSeries))
    row.upstream = r.upstream
    row.tenant = r.tenant
    row.model_len = r.model_len
    memcpy(row.model, r.model, r.model_len)
    return row


cdef TokenSums *sums_of(Stats *s, const Record *r) noexcept nogil:
    cdef TokenTable *t = &s.tokens
    cdef TokenSeries *row
    cdef uint32_t k = spot(t, r)
    while t.index[k]:
        row = &t.rows[t.index[k] - 1]
        if is_row_of(row, r):
            return &row.sums
        k = (k + 1) & t.mask
    learn(s, r)
    row = new_row(s, r, k)
    return &row.sums if row != NULL else &t.tenants[r.tenant].sums


cdef inline void add(uint64_t *total, int64_t n) noexcept nogil:
    if n > 0:
        total[0] += <uint64_t>n


cdef void stats_count(Stats *s, const Record *r) noexcept nogil:
    cdef TokenSums *sums
    if not count_request(&s.series, r):
        s.n_other_series += 1
    if r.tokens.prompt < 0 and r.tokens.completion < 0:
        return
    sums = sums_of(s, r)
    add(&sums.prompt, r.tokens.prompt)
    add(&sums.completion, r.tokens.completion)
    add(&sums.cached, r.tokens.cached)
    add(&sums.reasoning, r.tokens.reasoning)


cdef int tokens_stage(
    TokenTable *grown, const TokenTable *now, uint32_t n_tenants, uint32_t n_models
) noexcept nogil:
    """Allocate a table for so many tenants and configured models, never smaller than `now`. One
    without rows: `now` is large enough. -1: no memory, and nothing is left in `grown`."""
    cdef uint32_t cap = TOKENS_FIRST, size = 2 * TOKENS_FIRST
    cdef uint64_t wanted = <uint64_t>n_tenants * (n_models + GUESTS_LEAST)
    while cap < wanted and cap < TOKENS_MOST:
        cap *= 2
    cap = max(cap, now.cap)
    while size < 2 * cap:
        size *= 2
    memset(grown, 0, sizeof(TokenTable))
    if cap == now.cap and n_tenants <= now.n_tenants:
        return 0
    grown.cap = cap
    grown.mask = size - 1
    grown.n_tenants = max(n_tenants, now.n_tenants)
    grown.guests_each = max(<uint32_t>GUESTS_LEAST, GUESTS_MOST // grown.n_tenants)
    grown.rows = <TokenSeries *>calloc(cap, sizeof(TokenSeries))
    grown.index = <uint32_t *>calloc(size, sizeof(uint32_t))
    grown.tenants = <TenantTotals *>calloc(grown.n_tenants, sizeof(TenantTotals))
    if grown.rows == NULL or grown.index == NULL or grown.tenants == NULL:
        tokens_free(grown)
        return -1
    return 0


cdef void note_row(TokenTable *t, uint32_t row) noexcept nogil:
    cdef Record r
    cdef const TokenSeries *from_ = &t.rows[row]
    cdef uint32_t k
    r.upstream = from_.upstream
    r.tenant = from_.tenant
    r.model_len = from_.model_len
    memcpy(r.model, from_.model, from_.model_len)
    k = spot(t, &r)
    while t.index[k]:
        k = (k + 1) & t.mask
    t.index[k] = row + 1


cdef void tokens_move(TokenTable *grown, const TokenTable *now) noexcept nogil:
    cdef uint32_t i
    memcpy(grown.rows, now.rows, now.n * sizeof(TokenSeries))
    memcpy(grown.tenants, now.tenants, now.n_tenants * sizeof(TenantTotals))
    grown.n = now.n
    for i in range(now.n):
        note_row(grown, i)


cdef void tokens_forget(TokenTable *t, const uint8_t *gone) noexcept nogil:
    """Forget tenants, `gone` by index: their indices mean others from now on."""
    cdef uint32_t i, kept = 0
    for i in range(t.n):
        if not gone[t.rows[i].tenant]:
            t.rows[kept] = t.rows[i]
            kept += 1
    for i in range(t.n_tenants):
        if gone[i]:
            memset(&t.tenants[i], 0, sizeof(TenantTotals))
    if kept == t.n:
        return
    t.n = kept
    memset(t.index, 0, (<size_t>t.mask + 1) * sizeof(uint32_t))
    for i in range(kept):
        note_row(t, i)


cdef void tokens_free(TokenTable *t) noexcept nogil:
    free(t.rows)
    free(t.index)
    free(t.tenants)
    memset(t, 0, sizeof(TokenTable))
