"""The quotas of API keys: as /status shows them, and as other proxies share them.

Tests: tests/relay/test_keys.py.
"""

from libc.stdint cimport uint32_t, uint64_t

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
from zeroproxy._fast.types.plane cimport Plane

from zeroproxy._fast.engine.enum_names import QUOTAS

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
