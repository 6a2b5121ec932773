"""Totals of records that the ring did not take, by endpoint, model, tenant and exactness.

Law 1. Counters only grow. The consumer's thread reads them without a lock and takes their growth.
       It may see one counter a moment before another, and never loses one.
Law 2. A bill is by tenant. Where no row is left for a kind, it is added to the row of its tenant
       and exactness, which names no model. Those rows cannot run out: the control plane allocates
       them before it admits a tenant.
Law 3. Rows never move. A row whose tenant is gone, and which the consumer has taken whole, is free
       for another kind. The counters go on from where they are.
Tests: tests/relay/test_overflow.py.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from zeroproxy._fast.types.meter cimport EXACTNESS_COUNT
from zeroproxy._fast.types.record cimport Record
from zeroproxy._fast.usage.overflow cimport (
    OVERFLOW_NAMED,
    OVERFLOW_SEGMENT,
    OVERFLOW_SEGMENTS,
    OverflowRow,
    OverflowSums,
    OverflowTable,
)


cdef extern from "atomics.h" nogil:
    uint64_t load_acquire "zp_load_acquire"(const uint64_t *at) noexcept
    void store_release "zp_store_release"(uint64_t *at, uint64_t value) noexcept

cdef extern from "hash.h" nogil:
    uint64_t zp_hash(const void *at, size_t len)
    uint64_t zp_mix(uint64_t a, uint64_t b)

cdef struct Kind:           # key of a row
    uint16_t upstream
    uint16_t endpoint
    uint16_t tenant
    uint8_t exactness
    uint8_t is_rest
    const char *model
    uint16_t model_len


cdef inline uint32_t hash_of(const Kind *k) noexcept nogil:
    cdef uint64_t where = <uint64_t>k.upstream << 48 | <uint64_t>k.endpoint << 32 \
        | <uint64_t>k.tenant << 16 | k.exactness << 8 | k.is_rest
    return <uint32_t>zp_mix(where ^ 0x9E3779B97F4A7C15ULL, zp_hash(k.model, k.model_len) | 1)


cdef inline Kind kind_of(const OverflowRow *row) noexcept nogil:
    cdef Kind k
    k.upstream = row.upstream
    k.endpoint = row.endpoint
    k.tenant = row.tenant
    k.exactness = row.exactness
    k.is_rest = row.is_rest
    k.model = <const char *>&row.model[0]
    k.model_len = row.model_len
    return k


cdef inline bint is_kind(const OverflowRow *row, const Kind *k) noexcept nogil:
    return (
        row.endpoint == k.endpoint and row.upstream == k.upstream and row.tenant == k.tenant
        and row.exactness == k.exactness and row.is_rest == k.is_rest
        and row.model_len == k.model_len and memcmp(row.model, k.model, k.model_len) == 0
    )


cdef OverflowRow *overflow_row(const OverflowTable *s, uint64_t row) noexcept nogil:
    return &s.segments[row // OVERFLOW_SEGMENT][row % OVERFLOW_SEGMENT]


cdef int overflow_init(OverflowTable *s) noexcept nogil:
    """Allocate an index for one tenant. -1: no memory."""
    cdef uint32_t *index = NULL
    cdef uint32_t mask
    if overflow_reserve(s, 1, &index, &mask) < 0:
        return -1
    overflow_use(s, &index, mask)
    return 0


cdef void overflow_close(OverflowTable *s) noexcept nogil:
    cdef uint32_t k
    for k in range(s.n_segments):
        free(s.segments[k])
    free(s.index)


# ---------------------------------------------------------------- the producer


cdef void note(uint32_t *index, uint32_t mask, const Kind *k, uint32_t row) noexcept nogil:
    cdef uint32_t h = hash_of(k) & mask
    while index[h]:
        h = (h + 1) & mask
    index[h] = row + 1


cdef OverflowRow *find(const OverflowTable *s, const Kind *k) noexcept nogil:
    cdef uint32_t h = hash_of(k) & s.mask
    cdef OverflowRow *row
    while s.index[h]:
        row = overflow_row(s, s.index[h] - 1)
        if is_kind(row, k):
            return row
        h = (h + 1) & s.mask
    return NULL


cdef void describe(OverflowRow *row, const Kind *k) noexcept nogil:
    row.upstream = k.upstream
    row.endpoint = k.endpoint
    row.tenant = k.tenant
    row.exactness = k.exactness
    row.is_rest = k.is_rest
    row.model_len = k.model_len
    memcpy(row.model, k.model, k.model_len)
    row.is_free = 0


cdef OverflowRow *new_row(OverflowTable *s, const Kind *k) noexcept nogil:
    """A row for a new kind; NULL: none left, which cannot be for the rest of a tenant."""
    cdef OverflowRow *row
    cdef uint64_t at = s.n
    if not k.is_rest and s.n_named == OVERFLOW_NAMED:
        return NULL
    if s.free_head:
        at = s.free_head - 1
        s.free_head = overflow_row(s, at).next_free
    elif at == <uint64_t>s.n_segments * OVERFLOW_SEGMENT:
        return NULL
    row = overflow_row(s, at)
    describe(row, k)
    note(s.index, s.mask, k, <uint32_t>at)
    s.n_named += not k.is_rest
    if at == s.n:
        store_release(&s.n, at + 1)
    return row


cdef OverflowRow *row_for(OverflowTable *s, const Record *r) noexcept nogil:
    cdef Kind k
    cdef OverflowRow *row
    k.upstream = r.upstream
    k.endpoint = r.endpoint
    k.tenant = r.tenant
    k.exactness = r.exactness
    k.is_rest = 0
    k.model = <const char *>&r.model[0]
    k.model_len = r.model_len
    row = find(s, &k)
    if row == NULL:
        row = new_row(s, &k)
    if row != NULL:
        return row
    k.upstream = k.endpoint = 0xFFFF
    k.is_rest = 1
    k.model_len = 0
    row = find(s, &k)
    return row if row != NULL else new_row(s, &k)


cdef inline void grow(uint64_t *counter, int64_t by) noexcept nogil:
    if by > 0:
        store_release(counter, counter[0] + <uint64_t>by)


cdef void overflow_add(OverflowTable *s, const Record *r) noexcept nogil:
    """Producer only: add a record to the row of its kind."""
    cdef OverflowRow *row = row_for(s, r)
    cdef OverflowSums *sums = &row.sums
    grow(&sums.prompt, r.tokens.prompt)
    grow(&sums.completion, r.tokens.completion)
    grow(&sums.cached, r.tokens.cached)
    grow(&sums.reasoning, r.tokens.reasoning)
    grow(&sums.bytes_in, <int64_t>r.bytes_in)
    grow(&sums.bytes_out, <int64_t>r.bytes_out)
    grow(&sums.count, 1)
    store_release(&s.total, s.total + 1)


# ---------------------------------------------------------------- the consumer


cdef uint64_t overflow_rows(const OverflowTable *s) noexcept nogil:
    """Number of rows. Any thread."""
    return load_acquire(&s.n)


cdef bint overflow_grew(OverflowTable *s) noexcept nogil:
    """Consumer only: something was added since the last call."""
    cdef uint64_t total = load_acquire(&s.total)
    if total == s.seen:
        return 0
    s.seen = total
    return 1


cdef inline void describe_like(OverflowRow *out, const OverflowRow *row) noexcept nogil:
    cdef Kind k = kind_of(row)
    describe(out, &k)


cdef bint overflow_take(OverflowRow *row, OverflowRow *out) noexcept nogil:
    """Consumer only: fill `out.sums` with the growth of a row since the last call. 0: none."""
    cdef const OverflowSums *now = &row.sums
    cdef OverflowSums *was = &row.taken
    cdef OverflowSums seen
    # First: the name of a row was written before its count.
    seen.count = load_acquire(&now.count)
    if seen.count == was.count:
        return 0
    seen.prompt = load_acquire(&now.prompt)
    seen.completion = load_acquire(&now.completion)
    seen.cached = load_acquire(&now.cached)
    seen.reasoning = load_acquire(&now.reasoning)
    seen.bytes_in = load_acquire(&now.bytes_in)
    seen.bytes_out = load_acquire(&now.bytes_out)
    describe_like(out, row)
    out.sums.count = seen.count - was.count
    out.sums.prompt = seen.prompt - was.prompt
    out.sums.completion = seen.completion - was.completion
    out.sums.cached = seen.cached - was.cached
    out.sums.reasoning = seen.reasoning - was.reasoning
    out.sums.bytes_in = seen.bytes_in - was.bytes_in
    out.sums.bytes_out = seen.bytes_out - was.bytes_out
    was[0] = seen
    return 1


# ---------------------------------------------------------------- the control plane


cdef int overflow_reserve(
    OverflowTable *s, uint32_t n_tenants, uint32_t **index, uint32_t *mask
) noexcept nogil:
    """Allocate rows for so many tenants, and an index for `overflow_use`; NULL in `index`: the
    present one is large enough. -1: no memory."""
    cdef uint32_t rows = OVERFLOW_NAMED + n_tenants * EXACTNESS_COUNT, size = 2048
    cdef uint32_t wanted = (rows + OVERFLOW_SEGMENT - 1) // OVERFLOW_SEGMENT
    while s.n_segments < wanted and s.n_segments < OVERFLOW_SEGMENTS:
        s.segments[s.n_segments] = <OverflowRow *>calloc(OVERFLOW_SEGMENT, sizeof(OverflowRow))
        if s.segments[s.n_segments] == NULL:
            return -1
        s.n_segments += 1
    while size < 2 * rows:
        size *= 2
    mask[0] = size - 1
    index[0] = NULL
    if s.index == NULL or size > s.mask + 1:
        index[0] = <uint32_t *>calloc(size, sizeof(uint32_t))
        return 0 if index[0] != NULL else -1
    return 0


cdef void index_again(OverflowTable *s) noexcept nogil:
    cdef uint32_t row
    cdef Kind k
    memset(s.index, 0, (<size_t>s.mask + 1) * sizeof(uint32_t))
    for row in range(<uint32_t>s.n):
        if not overflow_row(s, row).is_free:
            k = kind_of(overflow_row(s, row))
            note(s.index, s.mask, &k, row)


cdef void overflow_use(OverflowTable *s, uint32_t **index, uint32_t mask) noexcept nogil:
    """Put the index of `overflow_reserve` in force; `index` has the one that it replaces."""
    if index[0] == NULL:
        return
    s.index, index[0] = index[0], s.index
    s.mask = mask
    index_again(s)


cdef void overflow_mark(const OverflowTable *s, uint8_t *marks) noexcept nogil:
    """Mark, by index, the tenants of whom the consumer has not taken all."""
    cdef uint64_t row
    cdef const OverflowRow *found
    for row in range(s.n):
        found = overflow_row(s, row)
        if found.sums.count != load_acquire(&found.taken.count):
            marks[found.tenant] = 1


cdef void overflow_forget(OverflowTable *s, const uint8_t *gone) noexcept nogil:
    """Forget tenants, `gone` by index: their indices mean others from now on."""
    cdef uint64_t row
    cdef OverflowRow *found
    cdef bint any = 0
    for row in range(s.n):
        found = overflow_row(s, row)
        if gone[found.tenant] and not found.is_free:
            found.is_free = 1
            found.next_free = s.free_head
            s.free_head = <uint32_t>row + 1
            s.n_named -= not found.is_rest
            any = 1
    if any:
        index_again(s)
