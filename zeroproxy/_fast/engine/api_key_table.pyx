"""API keys of the configuration, prepared as a Step of a change (engine/change.pyx).

Law 1. A key keeps its slot for ever, by its digest. So exchanges may hold its address, and a reload
       that brings it again finds its quota as it was. Only the table is replaced, as a whole.
Law 2. A table is prepared without the plane lock, and put in force under it. The lock is held for
       the keys that differ, not for those that were read.
Law 3. No digest leaves through here.
Tests: tests/relay/test_keys.py, tests/e2e/test_keys.py.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memset

from zeroproxy._fast.engine.key_terms cimport salts_write, terms_are_equal, terms_free, terms_read
from zeroproxy._fast.engine.network_values cimport read_networks
from zeroproxy._fast.engine.tenant_indices cimport Tenants
from zeroproxy._fast.engine.thread cimport PlaneThread
from zeroproxy._fast.engine.values cimport COUNT_BITS, choice, demand_type, encoded, whole
from zeroproxy._fast.tenants.fair_queue cimport shares_stage, shares_use
from zeroproxy._fast.tenants.keys_and_quotas cimport key_place, quota_begin
from zeroproxy._fast.types.admission_limits cimport TenantShare
from zeroproxy._fast.types.change cimport Step
from zeroproxy._fast.types.key_and_quota cimport (
    DIGEST,
    QUOTA_REQUESTS,
    QUOTA_TOKENS,
    AllowedModel,
    ApiKey,
)
from zeroproxy._fast.types.key_terms cimport SALT_BY_COUNT, SALT_LEN, KeyTerms
from zeroproxy._fast.types.model_name cimport MODEL_MAX
from zeroproxy._fast.types.network cimport Network, Networks
from zeroproxy._fast.types.plane cimport Plane, RelayFifo
from zeroproxy._fast.usage.overflow cimport overflow_reserve, overflow_use
from zeroproxy._fast.usage.stats cimport Stats, TokenTable, tokens_free, tokens_move, tokens_stage

from zeroproxy._fast.engine.enum_names import IDENTITIES
from zeroproxy.config.auth import Key

cdef uint64_t COUNT_MOST = <uint64_t>1 << COUNT_BITS


cdef ApiKey *make_slot(Plane *p, bytes digest) except NULL:
    """A slot that is in no table yet."""
    cdef ApiKey **grown = <ApiKey **>realloc(p.keys.all, (p.keys.n_all + 1) * sizeof(ApiKey *))
    cdef ApiKey *k
    if grown == NULL:
        raise MemoryError
    p.keys.all = grown
    k = <ApiKey *>calloc(1, sizeof(ApiKey))
    if k == NULL:
        raise MemoryError
    k.waiting = calloc(1, sizeof(RelayFifo))
    if k.waiting == NULL:
        free(k)
        raise MemoryError
    memcpy(k.digest, <const char *>digest, DIGEST)
    k.index = p.keys.n_all
    grown[p.keys.n_all] = k
    p.keys.n_all += 1
    return k


cdef bytes digest_of(key):
    """Check all values of a key; returns its digest."""
    cdef bytes digest
    demand_type(key, "keys", Key)
    encoded(key.sha256, "key.sha256", 2 * DIGEST)
    demand_type(key.certificate, "key.certificate", str)
    try:
        digest = bytes.fromhex(key.digest())
    except ValueError:
        digest = b""
    if len(digest) != DIGEST:
        raise ValueError(f"key.sha256: not {2 * DIGEST} hex digits")
    whole(key.priority, "key.priority", 0, 255)
    whole(key.requests_per_minute, "key.requests_per_minute", 0, COUNT_MOST)
    whole(key.tokens_per_minute, "key.tokens_per_minute", 0, COUNT_MOST)
    choice(key.surface, "key.surface", ("", "all"))
    demand_type(key.name, "key.name", str)
    demand_type(key.tenant, "key.tenant", str)
    demand_type(key.models, "key.models", tuple)
    for model in key.models:
        if not encoded(model, "key.models", MODEL_MAX):
            raise ValueError("key.models: an empty name")
    return digest


cdef list digests_of(list keys):
    digests = [digest_of(key) for key in keys]
    if len(set(digests)) != len(digests):
        raise ValueError("keys: two have the same sha256")
    return digests


# ---------------------------------------------------------------- another table

cdef struct ApiKeySettings:       # of one key, as configured
    ApiKey *k
    uint16_t tenant
    uint8_t priority
    uint8_t passes_all
    uint32_t n_models
    AllowedModel *models
    Networks allowed
    double[2] rates         # key_and_quota.QuotaOf
    KeyTerms terms
    uint8_t has_salts
    char[SALT_BY_COUNT][SALT_LEN] salts


cdef struct KeyChange:          # of Change.set_keys
    ApiKeySettings *keys          # that differ from those in force
    uint32_t n_keys
    ApiKey **leaving        # in force now, and not any more
    uint32_t n_leaving
    ApiKey **table
    uint32_t mask
    uint8_t is_on
    uint8_t forwards
    uint8_t identity
    uint8_t shows_limits
    uint8_t reads_salts
    uint32_t n_tenants
    TenantShare **shares          # of each upstream
    uint32_t n_shares
    TokenTable tokens
    uint32_t *overflow_index
    uint32_t overflow_mask


cdef int read_models(ApiKeySettings *settings, models) except -1:
    cdef AllowedModel *table
    cdef bytes name
    cdef uint32_t n = 0
    settings.n_models = <uint32_t>len(models)
    if settings.n_models == 0:
        return 0
    settings.models = table = <AllowedModel *>calloc(len(models), sizeof(AllowedModel))
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
    k.allowed, t.allowed = t.allowed, k.allowed
    k.tenant = t.tenant
    k.priority = t.priority
    k.terms, t.terms = t.terms, k.terms
    k.has_salts = t.has_salts
    memcpy(k.salts, t.salts, sizeof(k.salts))
    k.passes_all = t.passes_all
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
    overflow_use(&stats.overflow, &t.overflow_index, t.overflow_mask)
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
    p.keys.identity = t.identity
    p.keys.shows_limits = t.shows_limits
    p.keys.reads_salts = t.reads_salts
    p.keys.is_on = t.is_on


cdef void discard_keys(void *what) noexcept nogil:
    cdef KeyChange *t = <KeyChange *>what
    cdef uint32_t i
    for i in range(t.n_keys):
        free(t.keys[i].models)
        free(t.keys[i].allowed.at)
        terms_free(&t.keys[i].terms)
    for i in range(t.n_shares):
        free(t.shares[i])
    free(t.keys)
    free(t.leaving)
    free(t.table)
    free(t.shares)
    tokens_free(&t.tokens)
    free(t.overflow_index)
    free(t)


cdef bint has_networks(const ApiKey *k, allow_from) except -1:
    cdef Networks t
    cdef bint is_same
    read_networks(&t, allow_from, "key.allow_from")
    is_same = t.n == k.allowed.n and (
        t.n == 0 or memcmp(t.at, k.allowed.at, t.n * sizeof(Network)) == 0
    )
    free(t.at)
    return is_same


cdef bint is_as_before(const ApiKey *k, const ApiKeySettings *t, key) except -1:
    cdef uint32_t i
    if not k.in_force or k.tenant != t.tenant or k.priority != t.priority:
        return 0
    if k.passes_all != t.passes_all:
        return 0
    if k.quotas[<int>QUOTA_REQUESTS].rate != t.rates[0] \
            or k.quotas[<int>QUOTA_TOKENS].rate != t.rates[1]:
        return 0
    if not terms_are_equal(&k.terms, &t.terms) or k.has_salts != t.has_salts \
            or memcmp(k.salts, t.salts, sizeof(k.salts)) != 0:
        return 0
    if [k.models[i].name[:k.models[i].len] for i in range(k.n_models)] \
            != [model.encode() for model in key.models]:
        return 0
    return has_networks(k, key.allow_from)


cdef int read_key(ApiKeySettings *t, key, int tenant, list upstreams, bytes secret) except -1:
    """All but the models. Its memory is freed with the change."""
    t.tenant = <uint16_t>tenant
    t.priority = key.priority
    t.passes_all = key.surface == "all"
    t.rates[<int>QUOTA_REQUESTS] = key.requests_per_minute
    t.rates[<int>QUOTA_TOKENS] = key.tokens_per_minute
    terms_read(&t.terms, key, upstreams)
    t.has_salts = len(secret) != 0
    if t.has_salts:
        salts_write(t.salts, secret, key)
    return 0


cdef int stage_key(
    KeyChange *t, ApiKey *k, key, int tenant, list upstreams, bytes secret
) except -1:
    cdef ApiKeySettings *settings
    cdef uint32_t at = key_place(k.digest) & t.mask
    while t.table[at] != NULL:
        at = (at + 1) & t.mask
    t.table[at] = k
    settings = &t.keys[t.n_keys]
    t.n_keys += 1
    read_key(settings, key, tenant, upstreams, secret)
    if is_as_before(k, settings, key):
        terms_free(&settings.terms)
        memset(settings, 0, sizeof(ApiKeySettings))
        t.n_keys -= 1
        return 0
    read_models(settings, key.models)
    read_networks(&settings.allowed, key.allow_from, "key.allow_from")
    settings.k = k
    return 0


cdef int stage_tenants(
    KeyChange *t, PlaneThread engine, uint32_t n_tenants, uint32_t n_models
) except -1:
    """Grow all tables by tenant."""
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
        is_short = overflow_reserve(
            &stats.overflow, n_tenants, &t.overflow_index, &t.overflow_mask
        ) < 0
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
    Step *s, PlaneThread engine, list keys, bint forwards, bint headers, bytes secret, identity,
    list upstreams, Tenants tenants, uint32_t n_models
):
    cdef Plane *p = engine.p
    cdef KeyChange *t
    cdef ApiKey *k
    cdef uint32_t i
    cdef list digests = digests_of(keys or [])
    s.what = t = <KeyChange *>calloc(1, sizeof(KeyChange))
    if t == NULL:
        raise MemoryError
    s.discard = discard_keys
    t.forwards = forwards
    t.identity = choice(identity, "identity", IDENTITIES)
    t.shows_limits = headers
    t.reads_salts = len(secret) != 0
    t.is_on = keys is not None
    stage_table(t, p, <uint32_t>len(digests))
    slots = {bytes(p.keys.all[i].digest[:DIGEST]): i for i in range(p.keys.n_all)}
    found, whose = [], {0}
    for digest, key in zip(digests, keys or [], strict=True):
        k = p.keys.all[<uint32_t>slots[digest]] if digest in slots else make_slot(p, digest)
        tenant = tenants.find(key.owner())
        stage_key(t, k, key, tenant, upstreams, secret)
        found.append(k.index)
        whose.add(tenant)
    stays = set(found)
    for i in range(p.keys.n_all):
        if p.keys.all[i].in_force and i not in stays:
            t.leaving[t.n_leaving] = p.keys.all[i]
            t.n_leaving += 1
    stage_tenants(t, engine, <uint32_t>len(tenants.names), n_models)
    s.apply = apply_keys
    return found, whose


cdef void api_keys_free(Plane *p) noexcept nogil:
    cdef uint32_t i
    for i in range(p.keys.n_all):
        free(p.keys.all[i].models)
        free(p.keys.all[i].allowed.at)
        free(p.keys.all[i].waiting)
        terms_free(&p.keys.all[i].terms)
        free(p.keys.all[i])
    free(p.keys.all)
    free(p.keys.table)
