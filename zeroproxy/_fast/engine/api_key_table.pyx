"""API keys as Python describes them, and what /status shows of their quotas.

Law 1. A key keeps its slot for ever, by its digest: exchanges hold its address, and its quota goes
       on where it was when a reload brings it again. Only the table is replaced, as a whole.
Law 2. A table is prepared without the turn, and put in force in one: the plane waits for what
       differs, not for what was read.
Law 3. No digest leaves through here.
Tests: tests/relay/test_keys.py, tests/e2e/test_keys.py.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy

from zeroproxy._fast.engine.tenant_table cimport Tenants
from zeroproxy._fast.engine.thread cimport PlaneThread
from zeroproxy._fast.tenants.api_keys cimport (
    key_place,
    quota_begin,
    quota_fill,
    quota_grant,
    quota_share,
)
from zeroproxy._fast.tenants.fair_queue cimport shares_stage, shares_use
from zeroproxy._fast.types.admission cimport TenantShare
from zeroproxy._fast.types.api_key cimport (
    DIGEST,
    QUOTA_COUNT,
    QUOTA_REQUESTS,
    QUOTA_TOKENS,
    AllowedModel,
    ApiKey,
    Quota,
)
from zeroproxy._fast.types.change cimport Step
from zeroproxy._fast.types.clock cimport clock_monotonic_ns
from zeroproxy._fast.types.model cimport MODEL_MAX
from zeroproxy._fast.types.plane cimport Plane
from zeroproxy._fast.usage.overflow cimport overflow_reserve, overflow_use
from zeroproxy._fast.usage.stats cimport Stats, TokenTable, tokens_free, tokens_move, tokens_stage

cdef enum:
    SLICE = 32              # keys copied in one turn
    LOOKED_MOST = 1024      # and looked at

#: In the order of api_key.QuotaOf.
QUOTAS = ("requests", "tokens")


cdef ApiKey *make_slot(Plane *p, bytes digest) except NULL:
    """A slot nobody finds yet."""
    cdef ApiKey **grown = <ApiKey **>realloc(p.keys.all, (p.keys.n_all + 1) * sizeof(ApiKey *))
    cdef ApiKey *k
    if grown == NULL:
        raise MemoryError
    p.keys.all = grown
    k = <ApiKey *>calloc(1, sizeof(ApiKey))
    if k == NULL:
        raise MemoryError
    memcpy(k.digest, <const char *>digest, DIGEST)
    k.index = p.keys.n_all
    grown[p.keys.n_all] = k
    p.keys.n_all += 1
    return k


cdef int check_rows(rows) except -1:
    """What can be wrong with them."""
    if len({row[0] for row in rows}) != len(rows):
        raise ValueError("two keys have the same digest")
    for digest, _, _, priority, models, requests, tokens in rows:
        if len(digest) != DIGEST or not 0 <= priority <= 255 or requests < 0 or tokens < 0:
            raise ValueError("a key's digest, priority or quota is not one")
        if any(not 0 < len(model.encode()) <= MODEL_MAX for model in models):
            raise ValueError("the name of a model is empty or too long")
    return 0


# ---------------------------------------------------------------- another table

cdef struct ApiKeySettings:       # what the configuration says of a key
    ApiKey *k
    uint16_t tenant
    uint8_t priority
    uint32_t n_models
    AllowedModel *models
    double[2] rates         # api_key.QuotaOf


cdef struct KeyChange:          # what set_keys puts in force
    ApiKeySettings *keys          # those that differ
    uint32_t n_keys
    ApiKey **leaving        # in force now, and not any more
    uint32_t n_leaving
    ApiKey **table
    uint32_t mask
    uint8_t is_on
    uint8_t forwards
    uint32_t n_tenants
    TenantShare **shares          # of each upstream
    uint32_t n_shares
    TokenTable tokens
    uint32_t *spilled
    uint32_t spilled_mask


cdef int read_models(ApiKeySettings *terms, models) except -1:
    cdef AllowedModel *table
    cdef bytes name
    cdef uint32_t n = 0
    terms.n_models = <uint32_t>len(models)
    if terms.n_models == 0:
        return 0
    terms.models = table = <AllowedModel *>calloc(len(models), sizeof(AllowedModel))
    if table == NULL:
        raise MemoryError
    for model in models:
        name = model.encode()
        table[n].len = <uint16_t>len(name)
        memcpy(table[n].name, <const char *>name, len(name))
        n += 1
    return 0


cdef void apply_key(ApiKeySettings *t, uint64_t now) noexcept nogil:
    cdef ApiKey *k = t.k
    k.models, t.models = t.models, k.models
    k.n_models = t.n_models
    k.tenant = t.tenant
    k.priority = t.priority
    quota_begin(&k.quotas[<int>QUOTA_REQUESTS], t.rates[0], now)
    quota_begin(&k.quotas[<int>QUOTA_TOKENS], t.rates[1], now)
    k.in_force = 1


cdef void apply_tenants(Plane *p, KeyChange *t) noexcept nogil:
    cdef Stats *stats = <Stats *>p.stats
    cdef uint32_t i
    for i in range(t.n_shares):
        if t.shares[i] != NULL:
            t.shares[i] = shares_use(&p.upstreams[i].queue, t.shares[i], t.n_tenants)
    if t.tokens.rows != NULL:
        tokens_move(&t.tokens, &stats.tokens)
        stats.tokens, t.tokens = t.tokens, stats.tokens
    overflow_use(&stats.overflow, &t.spilled, t.spilled_mask)
    p.keys.n_tenants = max(p.keys.n_tenants, t.n_tenants)


cdef void apply_keys(Plane *p, void *what) noexcept nogil:
    cdef KeyChange *t = <KeyChange *>what
    cdef uint32_t i
    apply_tenants(p, t)
    for i in range(t.n_leaving):
        t.leaving[i].in_force = 0
    for i in range(t.n_keys):
        apply_key(&t.keys[i], p.now_ns)
    p.keys.table, t.table = t.table, p.keys.table
    p.keys.mask = t.mask
    p.keys.forwards = t.forwards
    p.keys.is_on = t.is_on


cdef void discard_keys(void *what) noexcept nogil:
    cdef KeyChange *t = <KeyChange *>what
    cdef uint32_t i
    for i in range(t.n_keys):
        free(t.keys[i].models)
    for i in range(t.n_shares):
        free(t.shares[i])
    free(t.keys)
    free(t.leaving)
    free(t.table)
    free(t.shares)
    tokens_free(&t.tokens)
    free(t.spilled)
    free(t)


cdef bint is_as_before(const ApiKey *k, row, int tenant) except -1:
    cdef uint32_t i
    _, _, _, priority, models, requests, tokens = row
    if not k.in_force or k.tenant != tenant or k.priority != priority:
        return 0
    if k.quotas[<int>QUOTA_REQUESTS].rate != requests or k.quotas[<int>QUOTA_TOKENS].rate != tokens:
        return 0
    return [k.models[i].name[:k.models[i].len] for i in range(k.n_models)] \
        == [model.encode() for model in models]


cdef int stage_row(KeyChange *t, ApiKey *k, row, int tenant) except -1:
    cdef ApiKeySettings *terms
    cdef uint32_t at = key_place(k.digest) & t.mask
    while t.table[at] != NULL:
        at = (at + 1) & t.mask
    t.table[at] = k
    if is_as_before(k, row, tenant):
        return 0
    terms = &t.keys[t.n_keys]
    t.n_keys += 1
    read_models(terms, row[4])
    terms.k = k
    terms.tenant = <uint16_t>tenant
    terms.priority = row[3]
    terms.rates[0], terms.rates[1] = row[5], row[6]
    return 0


cdef int stage_tenants(
    KeyChange *t, PlaneThread engine, uint32_t n_tenants, uint32_t n_models
) except -1:
    """Room for each in all tables by tenant."""
    cdef Plane *p = engine.p
    cdef Stats *stats = <Stats *>p.stats
    cdef uint32_t i
    t.n_tenants = n_tenants
    t.shares = <TenantShare **>calloc(max(p.n_upstreams, 1), sizeof(TenantShare *))
    if t.shares == NULL:
        raise MemoryError
    for i in range(p.n_upstreams):
        t.n_shares += 1
        if n_tenants > p.upstreams[i].queue.n_shares:
            t.shares[i] = shares_stage(&p.upstreams[i].queue, n_tenants)
            if t.shares[i] == NULL:
                raise MemoryError
    if tokens_stage(&t.tokens, &stats.tokens, n_tenants, n_models) < 0:
        raise MemoryError
    with engine:
        is_short = overflow_reserve(&stats.overflow, n_tenants, &t.spilled, &t.spilled_mask) < 0
    if is_short:
        raise MemoryError
    return 0


cdef int stage_table(KeyChange *t, Plane *p, uint32_t n) except -1:
    cdef uint32_t size = 16
    while size < 2 * n:
        size *= 2
    t.mask = size - 1
    t.table = <ApiKey **>calloc(size, sizeof(ApiKey *))
    t.keys = <ApiKeySettings *>calloc(max(n, 1), sizeof(ApiKeySettings))
    t.leaving = <ApiKey **>calloc(max(p.keys.n_all, 1), sizeof(ApiKey *))
    if t.table == NULL or t.keys == NULL or t.leaving == NULL:
        raise MemoryError
    return 0


cdef tuple api_keys_stage(
    Step *s, PlaneThread engine, rows, bint forwards, Tenants tenants, uint32_t n_models
):
    """`rows`: None, no key is asked for; or (digest, name, tenant, priority, models, requests per
    minute, tokens per minute) each. Returns the index of each, and the tenants' indices."""
    cdef Plane *p = engine.p
    cdef KeyChange *t
    cdef ApiKey *k
    cdef uint32_t i
    check_rows(rows or ())
    s.what = t = <KeyChange *>calloc(1, sizeof(KeyChange))
    if t == NULL:
        raise MemoryError
    s.discard = discard_keys
    s.apply = apply_keys
    t.forwards = forwards
    t.is_on = rows is not None
    stage_table(t, p, <uint32_t>len(rows or ()))
    slots = {bytes(p.keys.all[i].digest[:DIGEST]): i for i in range(p.keys.n_all)}
    found, whose = [], {0}
    for row in rows or ():
        k = p.keys.all[<uint32_t>slots[row[0]]] if row[0] in slots else make_slot(p, row[0])
        tenant = tenants.find(row[2])
        stage_row(t, k, row, tenant)
        found.append(k.index)
        whose.add(tenant)
    stays = set(found)
    for i in range(p.keys.n_all):
        if p.keys.all[i].in_force and i not in stays:
            t.leaving[t.n_leaving] = p.keys.all[i]
            t.n_leaving += 1
    stage_tenants(t, engine, <uint32_t>len(tenants.names), n_models)
    return found, whose


cdef int api_keys_set_quota(Plane *p, int index, str quota, dict settings) except -1:
    """`speed` and `cap`: it fills by itself. `speed`, `level` and `used`: it was granted `level`
    when `used` was what it had used."""
    cdef Quota *q
    if not 0 <= index < p.keys.n_all:
        raise IndexError(f"no key {index}")
    q = &p.keys.all[index].quotas[<int>QUOTAS.index(quota)]
    if q.rate == 0:
        return 0
    if "level" in settings:
        quota_grant(q, settings["speed"], settings["level"], settings["used"])
    else:
        quota_share(q, settings["speed"], settings["cap"], clock_monotonic_ns())
    return 0


cdef uint32_t copy_keys(
    Plane *p, ApiKey *out, uint32_t *at, uint32_t n, bint used_only
) noexcept nogil:
    """Up to `n` keys in force from `at` on, as they are now; `at` moves on."""
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


cdef list api_keys_quotas(PlaneThread engine, tuple names, bint used_only):
    """Quotas of the keys in force; `used_only`: of those used since the last such call. With the
    engine's lock, without the turn."""
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
            found += read_quotas(&keys[i], names)
    return found


cdef list read_quotas(const ApiKey *k, tuple names):
    cdef const Quota *q
    cdef int which
    found = []
    for which in range(<int>QUOTA_COUNT):
        q = &k.quotas[which]
        if q.rate:
            found.append({
                "index": k.index, "key": names[3][k.index], "tenant": names[2][k.tenant],
                "quota": QUOTAS[which], "per_minute": q.rate, "level": q.level, "used": q.used,
                "reserved": q.reserved, "refused": q.n_refused, "leased": bool(q.is_leased),
            })
    return found


cdef void api_keys_free(Plane *p) noexcept nogil:
    cdef uint32_t i
    for i in range(p.keys.n_all):
        free(p.keys.all[i].models)
        free(p.keys.all[i])
    free(p.keys.all)
    free(p.keys.table)
