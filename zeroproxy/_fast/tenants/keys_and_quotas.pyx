"""API keys: the search for a key, and its quotas.

Law 1. A key is known by its SHA-256 alone. The search starts at a place from the digest, which no
       caller can choose, and each comparison takes the same time for any two digests.
Law 2. A quota is a bucket: it starts full, holds a minute's worth and fills evenly. A request takes
       one at its head. Of tokens it reserves the usual cost of its key's requests; after its body
       was read, the cost that the body allows. It takes its own cost at the end. No request is
       admitted while reserved tokens exhaust the level. The level may fall below zero, but by
       DEBT_MINUTES' worth at most: no key is refused for hours.
Law 3. A leased quota does not fill by itself: its level is the last grant, less all that was taken
       since the grant was computed.
Tests: tests/unit/test_keys.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from zeroproxy._fast.jsonscan.strings cimport name_is
from zeroproxy._fast.types.clock cimport NS_PER_S
from zeroproxy._fast.types.key_and_quota cimport (
    DIGEST,
    KEY_MAX,
    QUOTA_COUNT,
    QUOTA_REQUESTS,
    QUOTA_TOKENS,
    ApiKey,
    ApiKeyTable,
    Quota,
)
from zeroproxy._fast.types.model_name cimport ModelName


cdef extern from "sha256.h" nogil:
    void zp_sha256(const void *at, size_t len, uint8_t *out) noexcept
    bint zp_same32(const uint8_t *a, const uint8_t *b) noexcept

cdef enum:
    WAIT_MAX = 86400        # seconds, the largest Retry-After
    DEBT_MINUTES = 10       # of a quota, the largest debt (also in policy/shared_quota.py)
    COST_FIRST = 256        # tokens of an answer, as long as none has ended
    BYTES_PER_TOKEN = 4     # of a request
    COST_MOST = 1 << 30


cdef void sha256(const char *at, size_t len, uint8_t *out) noexcept nogil:
    zp_sha256(at, len, out)


cdef uint32_t key_place(const uint8_t *digest) noexcept nogil:
    return <uint32_t>digest[0] | <uint32_t>digest[1] << 8 | <uint32_t>digest[2] << 16 \
        | <uint32_t>digest[3] << 24


cdef ApiKey *key_at(const ApiKeyTable *keys, const uint8_t *digest) noexcept nogil:
    cdef uint32_t k = key_place(digest) & keys.mask
    cdef ApiKey *found
    if keys.table == NULL:
        return NULL
    while keys.table[k] != NULL:
        found = keys.table[k]
        if zp_same32(found.digest, digest):
            return found
        k = (k + 1) & keys.mask
    return NULL


cdef ApiKey *key_find(const ApiKeyTable *keys, const char *at, size_t len) noexcept nogil:
    cdef uint8_t[DIGEST] digest
    if len == 0 or len > KEY_MAX:
        return NULL
    zp_sha256(at, len, digest)
    return key_at(keys, digest)


cdef bint key_allows(const ApiKey *k, const ModelName *model) noexcept nogil:
    cdef uint32_t i
    for i in range(k.n_models):
        if name_is(model, k.models[i].name, k.models[i].len):
            return 1
    return k.n_models == 0


# ---------------------------------------------------------------- quotas


cdef void quota_fill(Quota *q, uint64_t now_ns) noexcept nogil:
    if not q.is_leased and now_ns > q.filled_ns:
        q.level += <double>(now_ns - q.filled_ns) * q.speed / (60.0 * NS_PER_S)
        q.filled_ns = now_ns
        if q.level > q.cap:
            q.level = q.cap


cdef void quota_begin(Quota *q, double rate, uint64_t now_ns) noexcept nogil:
    cdef bint is_new = q.rate == 0
    if q.rate == rate:
        return
    quota_fill(q, now_ns)
    q.rate = q.speed = q.cap = rate
    q.filled_ns = now_ns
    q.is_leased = 0
    if is_new or q.level > rate:
        q.level = rate


cdef void quota_share(Quota *q, double speed, double cap, uint64_t now_ns) noexcept nogil:
    quota_fill(q, now_ns)
    q.filled_ns = now_ns
    q.is_leased = 0
    q.speed = speed
    q.cap = cap
    if q.level > cap:
        q.level = cap


cdef void quota_grant(Quota *q, double speed, double level, uint64_t used) noexcept nogil:
    q.is_leased = 1
    q.speed = speed
    q.level = max(level - <double>(q.used - used), -DEBT_MINUTES * q.rate)


cdef void quota_restore(Quota *q, double level, uint64_t now_ns) noexcept nogil:
    q.filled_ns = now_ns
    q.level = min(max(level, -DEBT_MINUTES * q.rate), q.cap)


cdef inline uint32_t smooth(uint32_t mean, int64_t cost) noexcept nogil:
    return <uint32_t>(mean + (cost - mean) // 8 if mean else cost)


cdef uint32_t expected(const ApiKeyTable *keys, const ApiKey *k, uint64_t bytes) noexcept nogil:
    """The expected tokens of the next request of a key; a minute's worth at most, so that one at a
    time is always admitted."""
    cdef uint64_t cost = k.mean if k.mean else keys.mean
    cdef double most = k.quotas[<int>QUOTA_TOKENS].rate
    if cost == 0:
        cost = COST_FIRST + min(bytes // BYTES_PER_TOKEN, <uint64_t>COST_MOST)
    return <uint32_t>cost if cost < most else <uint32_t>most


cdef int quota_reserve(
    const ApiKeyTable *keys, ApiKey *k, uint64_t bytes, uint64_t now_ns, uint32_t *reserved
) noexcept nogil:
    reserved[0] = 0
    cdef Quota *requests = &k.quotas[<int>QUOTA_REQUESTS]
    cdef Quota *tokens = &k.quotas[<int>QUOTA_TOKENS]
    k.was_used = 1
    quota_fill(requests, now_ns)
    quota_fill(tokens, now_ns)
    if requests.rate and requests.level < 1:
        requests.n_refused += 1
        return QUOTA_REQUESTS
    if tokens.rate and tokens.level - tokens.reserved <= 0:
        tokens.n_refused += 1
        return QUOTA_TOKENS
    requests.used += 1
    if requests.rate:
        requests.level -= 1
    if tokens.rate:
        reserved[0] = expected(keys, k, bytes)
        tokens.reserved += reserved[0]
    return QUOTA_COUNT


cdef bint quota_raise(
    ApiKey *k, uint64_t tokens, uint64_t now_ns, uint32_t *reserved,
) noexcept nogil:
    """The request that has reserved so much may cost `tokens`. 0: the others have exhausted the
    quota since it was let in."""
    cdef Quota *q = &k.quotas[<int>QUOTA_TOKENS]
    cdef double more
    if q.rate == 0:
        return 1
    quota_fill(q, now_ns)
    if q.level - (q.reserved - reserved[0]) <= 0:
        q.n_refused += 1
        q.reserved -= reserved[0]
        reserved[0] = 0
        return 0
    more = min(<double>tokens, q.rate) - reserved[0]
    if more > 0:
        q.reserved += <uint32_t>more
        reserved[0] += <uint32_t>more
    return 1


cdef void quota_settle(
    ApiKeyTable *keys, ApiKey *k, uint32_t reserved, int64_t tokens, uint64_t now_ns
) noexcept nogil:
    cdef Quota *q = &k.quotas[<int>QUOTA_TOKENS]
    q.reserved -= reserved
    if tokens <= 0:
        return
    k.was_used = 1
    k.mean = smooth(k.mean, min(tokens, <int64_t>COST_MOST))
    keys.mean = smooth(keys.mean, min(tokens, <int64_t>COST_MOST))
    quota_fill(q, now_ns)
    q.used += <uint64_t>tokens
    if q.rate:
        q.level = max(q.level - <double>tokens, -DEBT_MINUTES * q.rate)


cdef int quota_wait(const ApiKey *k, int which) noexcept nogil:
    cdef const Quota *q = &k.quotas[which]
    cdef double lacks = (1.0 if which == QUOTA_REQUESTS else q.reserved) - q.level
    cdef double seconds
    if lacks < 0 or q.speed <= 0:
        return 1
    seconds = lacks * 60.0 / q.speed
    return <int>WAIT_MAX if seconds >= WAIT_MAX else <int>seconds + 1
