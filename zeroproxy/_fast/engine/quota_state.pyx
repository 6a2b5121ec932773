"""The quotas and terms of API keys: as /status shows them, and quotas as other proxies share them.

Tests: tests/relay/test_keys.py, tests/relay/test_key_terms.py.
"""

from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from zeroproxy._fast.engine.names cimport Names
from zeroproxy._fast.engine.thread cimport PlaneThread
from zeroproxy._fast.engine.values cimport COUNT_BITS, choice, index_in, number, whole
from zeroproxy._fast.tenants.keys_and_quotas cimport (
    quota_fill,
    quota_grant,
    quota_restore,
    quota_share,
)
from zeroproxy._fast.types.clock cimport clock_monotonic_ns
from zeroproxy._fast.types.key_and_quota cimport QUOTA_REQUESTS, QUOTA_TOKENS, ApiKey, Quota
from zeroproxy._fast.types.key_terms cimport TERM_COUNT, KeyTerms
from zeroproxy._fast.types.plane cimport Plane, RelayFifo

from zeroproxy._fast.engine.enum_names import QUOTAS, TERMS

cdef enum:
    SLICE = 32              # keys copied under the plane lock at once
    LOOKED_MOST = 1024      # and examined
cdef double COUNT_MOST = <double>(<uint64_t>1 << COUNT_BITS)


cdef Quota *quota_at(Plane *p, index, quota) except NULL:
    cdef uint32_t at = index_in(index, "index", p.keys.n_all)
    return &p.keys.all[at].quotas[choice(quota, "quota", QUOTAS)]


cdef int quotas_share(Plane *p, index, quota, speed, cap) except -1:
    cdef Quota *q = quota_at(p, index, quota)
    cdef double a_minute = number(speed, "speed", 0, COUNT_MOST)
    cdef double most = number(cap, "cap", 0, COUNT_MOST)
    if q.rate:
        quota_share(q, a_minute, most, clock_monotonic_ns())
    return 0


cdef int quotas_grant(Plane *p, index, quota, speed, level, used) except -1:
    cdef Quota *q = quota_at(p, index, quota)
    cdef double a_minute = number(speed, "speed", 0, COUNT_MOST)
    cdef double granted = number(level, "level", -COUNT_MOST, COUNT_MOST)
    cdef uint64_t taken = whole(used, "used", 0, q.used)
    if q.rate:
        quota_grant(q, a_minute, granted, taken)
    return 0


cdef int quotas_fill_to(Plane *p, index, quota, level) except -1:
    cdef Quota *q = quota_at(p, index, quota)
    cdef double to = number(level, "level", -COUNT_MOST, COUNT_MOST)
    if q.rate and not q.is_leased:
        quota_restore(q, to, clock_monotonic_ns())
    return 0


cdef uint32_t copy_keys(
    Plane *p, ApiKey *out, uint32_t *at, uint32_t n, bint used_only
) noexcept nogil:
    """Copy up to `n` keys in force from `at` on, with their levels of now; `at` moves on."""
    cdef uint64_t now = clock_monotonic_ns()
    cdef uint32_t found = 0, looked = 0
    cdef ApiKey *k
    while at[0] < p.keys.n_all and found < n and looked < LOOKED_MOST:
        k = p.keys.all[at[0]]
        at[0] += 1
        looked += 1
        if not k.in_force or (used_only and not k.was_used):
            continue
        if used_only:
            k.was_used = 0
        quota_fill(&k.quotas[<int>QUOTA_REQUESTS], now)
        quota_fill(&k.quotas[<int>QUOTA_TOKENS], now)
        out[found] = k[0]
        found += 1
    return found


cdef list quotas_read(PlaneThread engine, Names names, bint used_only):
    """`used_only`: of keys used since the last such call."""
    cdef ApiKey[SLICE] keys
    cdef Plane *p = engine.p
    cdef uint32_t at = 0, n, i
    found = []
    while at < p.keys.n_all:
        with nogil:
            engine.enter_plane()
            n = copy_keys(p, keys, &at, SLICE, used_only)
            engine.leave_plane()
        for i in range(n):
            found += read_key_quotas(&keys[i], names)
    return found


cdef list read_key_quotas(const ApiKey *k, Names names):
    cdef const Quota *q
    found = []
    for which, name in enumerate(QUOTAS):
        q = &k.quotas[<int>which]
        if q.rate:
            found.append({
                "index": k.index, "key": names.keys[k.index], "tenant": names.tenants[k.tenant],
                "quota": name, "per_minute": q.rate, "level": q.level, "used": q.used,
                "reserved": q.reserved, "refused": q.n_refused, "leased": bool(q.is_leased),
            })
    return found


# ---------------------------------------------------------------- terms

cdef struct TermsOf:            # of one key
    uint32_t index
    uint16_t tenant
    uint32_t inflight
    uint32_t max_inflight
    uint32_t waiting
    uint64_t[TERM_COUNT] n_refused


cdef bint has_terms(const ApiKey *k) noexcept nogil:
    cdef const KeyTerms *t = &k.terms
    cdef int i
    if t.is_disabled or t.expires_ns or t.max_inflight or t.prompt_bytes or t.n or t.max_tokens \
            or t.max_tokens_default or t.caps_to_model or t.n_upstreams:
        return 1
    for i in range(TERM_COUNT):
        if k.n_refused[i]:
            return 1
    return 0


cdef uint32_t copy_terms(Plane *p, TermsOf *out, uint32_t *at, uint32_t n) noexcept nogil:
    """Copy those of up to `n` keys in force from `at` on; `at` moves on."""
    cdef uint32_t found = 0, looked = 0
    cdef const ApiKey *k
    while at[0] < p.keys.n_all and found < n and looked < LOOKED_MOST:
        k = p.keys.all[at[0]]
        at[0] += 1
        looked += 1
        if not k.in_force or not has_terms(k):
            continue
        out[found].index = k.index
        out[found].tenant = k.tenant
        out[found].inflight = k.inflight
        out[found].max_inflight = k.terms.max_inflight
        out[found].waiting = (<const RelayFifo *>k.waiting).n
        memcpy(out[found].n_refused, k.n_refused, sizeof(k.n_refused))
        found += 1
    return found


cdef list key_terms_read(PlaneThread engine, Names names):
    cdef TermsOf[SLICE] keys
    cdef Plane *p = engine.p
    cdef uint32_t at = 0, n, i
    found = []
    while at < p.keys.n_all:
        with nogil:
            engine.enter_plane()
            n = copy_terms(p, keys, &at, SLICE)
            engine.leave_plane()
        for i in range(n):
            refused = {
                name: keys[i].n_refused[<int>term]
                for term, name in enumerate(TERMS) if keys[i].n_refused[<int>term]
            }
            found.append({
                "index": keys[i].index, "key": names.keys[keys[i].index],
                "tenant": names.tenants[keys[i].tenant], "inflight": keys[i].inflight,
                "max_inflight": keys[i].max_inflight, "waiting": keys[i].waiting,
                "refused": refused,
            })
    return found
