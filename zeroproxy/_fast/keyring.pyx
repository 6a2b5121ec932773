"""API keys as Python describes them, and what /status shows of their quotas.

Law 1. A key keeps its slot for ever, by its digest: exchanges hold its address, and its quota goes
       on where it was when a reload brings it again. Only the table is replaced, as a whole.
Law 2. A tenant keeps its index for ever: records hold it.
Law 3. No digest leaves through here.
"""

from libc.stdint cimport uint16_t, uint32_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy

from zeroproxy._fast.clock cimport clock_monotonic_ns
from zeroproxy._fast.key_types cimport (
    DIGEST,
    QUOTA_COUNT,
    QUOTA_REQUESTS,
    QUOTA_TOKENS,
    AllowedModel,
    ApiKey,
    Quota,
)
from zeroproxy._fast.keys cimport key_place, quota_begin, quota_fill, quota_grant, quota_share
from zeroproxy._fast.model_types cimport MODEL_MAX
from zeroproxy._fast.plane cimport Plane, Upstream
from zeroproxy._fast.stats cimport ALL_OTHERS

#: In the order of key_types.QuotaOf.
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


cdef int set_models(ApiKey *k, models) except -1:
    cdef AllowedModel *table = NULL
    cdef bytes name
    cdef uint32_t n = 0
    if models:
        table = <AllowedModel *>calloc(len(models), sizeof(AllowedModel))
        if table == NULL:
            raise MemoryError
    for model in models:
        name = model.encode()
        table[n].len = <uint16_t>len(name)
        memcpy(table[n].name, <const char *>name, len(name))
        n += 1
    free(k.models)
    k.models = table
    k.n_models = n
    return 0


cdef int check_rows(rows, tuple names) except -1:
    """What can be wrong with them, before anything is changed."""
    if len({row[0] for row in rows}) != len(rows):
        raise ValueError("two keys have the same digest")
    if len(names[2]) + len({row[2] for row in rows}) >= ALL_OTHERS:
        raise ValueError("too many tenants")
    for digest, _, _, priority, models, requests, tokens in rows:
        if len(digest) != DIGEST or not 0 <= priority <= 255 or requests < 0 or tokens < 0:
            raise ValueError("a key's digest, priority or quota is not one")
        if any(not 0 < len(model.encode()) <= MODEL_MAX for model in models):
            raise ValueError("the name of a model is empty or too long")
    return 0


cdef uint16_t tenant_index(str tenant, list tenants) except? 0:
    if tenant not in tenants:
        tenants.append(tenant)
    return <uint16_t>tenants.index(tenant)


cdef int set_key(ApiKey *k, row, tuple names) except -1:
    cdef size_t now = clock_monotonic_ns()
    _, name, tenant, priority, models, requests, tokens = row
    set_models(k, models)
    k.tenant = tenant_index(tenant, names[2])
    k.priority = priority
    quota_begin(&k.quotas[<int>QUOTA_REQUESTS], requests, now)
    quota_begin(&k.quotas[<int>QUOTA_TOKENS], tokens, now)
    if k.index == len(names[3]):
        names[3].append(name)
    names[3][k.index] = name or f"key{k.index}"
    return 0


cdef list keyring_set(Plane *p, rows, bint forwards, tuple names):
    """`rows`: None, no key is asked for; or (digest, name, tenant, priority, models, requests per
    minute, tokens per minute) each. Returns the index of each."""
    cdef ApiKey **table
    cdef ApiKey *k
    cdef uint32_t size = 16, at, i
    check_rows(rows or (), names)
    while size < 2 * len(rows or ()):
        size *= 2
    table = <ApiKey **>calloc(size, sizeof(ApiKey *))
    if table == NULL:
        raise MemoryError
    found = []
    slots = {bytes(p.keys.all[i].digest[:DIGEST]): i for i in range(p.keys.n_all)}
    for i in range(p.keys.n_all):
        p.keys.all[i].in_force = 0
    for row in rows or ():
        k = p.keys.all[<uint32_t>slots[row[0]]] if row[0] in slots else make_slot(p, row[0])
        set_key(k, row, names)
        k.in_force = 1
        found.append(k.index)
        at = key_place(k.digest) & (size - 1)
        while table[at] != NULL:
            at = (at + 1) & (size - 1)
        table[at] = k
    free(p.keys.table)
    p.keys.table = table
    p.keys.mask = size - 1
    p.keys.forwards = forwards
    p.keys.is_on = rows is not None
    return found


cdef int keyring_set_bearer(Upstream *u, bytes key) except -1:
    """The upstream's own key; b"": it has none."""
    cdef char *text = NULL
    cdef bytes whole = b"Bearer " + key if key else b""
    if len(whole) > 0xFFFF:
        raise ValueError("an API key of an upstream is too long")
    if whole:
        text = <char *>malloc(len(whole))
        if text == NULL:
            raise MemoryError
        memcpy(text, <const char *>whole, len(whole))
    free(u.bearer)
    u.bearer = text
    u.bearer_len = <uint16_t>len(whole)
    return 0


cdef int keyring_set_quota(Plane *p, int index, str quota, dict words) except -1:
    """`speed` and `cap`: it fills by itself. `speed`, `level` and `used`: it was granted `level`
    when `used` was what it had used."""
    cdef Quota *q
    if not 0 <= index < p.keys.n_all:
        raise IndexError(f"no key {index}")
    q = &p.keys.all[index].quotas[<int>QUOTAS.index(quota)]
    if q.rate == 0:
        return 0
    if "level" in words:
        quota_grant(q, words["speed"], words["level"], words["used"])
    else:
        quota_share(q, words["speed"], words["cap"], clock_monotonic_ns())
    return 0


cdef list keyring_quotas(Plane *p, tuple names, bint used_only):
    """Quotas of the keys in force; `used_only`: of those used since the last such call."""
    cdef uint32_t i
    cdef int which
    cdef ApiKey *k
    cdef Quota *q
    found = []
    for i in range(p.keys.n_all):
        k = p.keys.all[i]
        if not k.in_force or (used_only and not k.was_used):
            continue
        if used_only:
            k.was_used = 0
        for which in range(<int>QUOTA_COUNT):
            q = &k.quotas[which]
            if q.rate == 0:
                continue
            quota_fill(q, clock_monotonic_ns())
            found.append({
                "index": i, "key": names[3][i], "tenant": names[2][k.tenant],
                "quota": QUOTAS[which], "per_minute": q.rate, "level": q.level, "used": q.used,
                "refused": q.n_refused, "leased": bool(q.is_leased),
            })
    return found


cdef void keyring_free(Plane *p) noexcept nogil:
    cdef uint32_t i
    for i in range(p.keys.n_all):
        free(p.keys.all[i].models)
        free(p.keys.all[i])
    free(p.keys.all)
    free(p.keys.table)
    for i in range(p.n_upstreams):
        free(p.upstreams[i].bearer)
