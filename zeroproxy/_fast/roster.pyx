"""Limits, upstreams and endpoints as Python describes them; who belongs to whom.

Law 1. A struct never moves and is never freed while the plane lives: conns, relays and records
       hold its address or its index. Only the arrays of pointers grow.
Law 2. `upstream.endpoints` are those in force, in no promised order; `plane.endpoints` are all
       there ever were, by index. A removed endpoint keeps its slot, and gets it back only for the
       same address: an index means one URL for ever.
Law 3. What can fail fails before the first word is written.
"""

import json

from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

from zeroproxy._fast.admission cimport admit_waiting
from zeroproxy._fast.balance_types cimport BALANCE_COUNT
from zeroproxy._fast.breaker cimport BREAKER_OPEN, breaker_off
from zeroproxy._fast.endpoint cimport endpoint_drop_idle
from zeroproxy._fast.idle cimport idle_begin, idle_init, idle_stop
from zeroproxy._fast.keyring cimport keyring_free, keyring_set_bearer
from zeroproxy._fast.limit cimport limit_begin
from zeroproxy._fast.limit_types cimport HEDGE_ONE
from zeroproxy._fast.pace cimport pace_forget, pace_tell
from zeroproxy._fast.plane cimport Conn, Endpoint, Plane, Route, Upstream
from zeroproxy._fast.pool_types cimport Pool
from zeroproxy._fast.settle cimport wake_waiting
from zeroproxy._fast.stats cimport ALL_OTHERS
from zeroproxy._fast.terms cimport ns, read_breaker, read_admission, read_key, read_pool
from zeroproxy._fast.tls_setup cimport tls_drop


cdef extern from "hash.h" nogil:
    uint64_t zp_hash(const void *at, size_t len)


# ---------------------------------------------------------------- upstreams


cdef Upstream *roster_add_upstream(Plane *p) except NULL:
    cdef Upstream *u
    cdef void *grown = realloc(p.upstreams, (p.n_upstreams + 1) * sizeof(Upstream *))
    if grown == NULL:
        raise MemoryError
    p.upstreams = <Upstream **>grown
    u = <Upstream *>calloc(1, sizeof(Upstream))
    if u == NULL:
        raise MemoryError
    u.index = p.n_upstreams
    u.chance = p.id_seed[1] + p.n_upstreams + 1
    u.chance += u.chance == 0
    p.upstreams[p.n_upstreams] = u
    p.n_upstreams += 1
    return u


cdef int roster_set_upstream(Upstream *u, dict words) except -1:
    """All of them, except that without `breaker` there is none, without `api_key` no key, and
    without `key` no request has an affinity."""
    cdef Upstream new = u[0]
    cdef uint32_t i
    if not 0 <= words["balance"] < BALANCE_COUNT:
        raise ValueError(f"no balance {words['balance']}")
    new.balance = words["balance"]
    new.affinity.n = 0
    new.affinity.bound = 1
    if "key" in words:
        read_key(&new.affinity, words["key"])
    read_admission(&new.admission, words)
    new.queue_ns = ns(words["queue_timeout"])
    new.connect_ns = ns(words["connect"])
    new.first_byte_ns = ns(words["first_byte"])
    new.stream_idle_ns = ns(words["stream_idle"])
    new.total_ns = ns(words["total"])
    new.attempts = words["attempts"]
    new.retry_on_busy = words["retry_on_busy"]
    new.passes_cookies = bool(words.get("cookies", False))
    new.hedge_ns = ns(words.get("hedge_after", 0.0))
    new.hedge_share = <uint32_t>(words.get("hedge_budget", 0.0) * HEDGE_ONE)
    new.breaker.failures = new.breaker.rate = 0
    new.breaker.slow_start_ns = 0
    if "breaker" in words:
        read_breaker(&new.breaker, words["breaker"])
    u[0] = new
    for i in range(u.n_endpoints):
        limit_begin(u.endpoints[i])
    keyring_set_bearer(u, words.get("api_key", b""))
    if u.breaker.failures == 0 and u.breaker.rate == 0:
        for i in range(u.n_endpoints):
            breaker_off(&u.endpoints[i].breaker)
    return 0


cdef void wake_all(Plane *p, Upstream *u) noexcept nogil:
    """What its endpoints can take has changed: for who waits for a permit, or for a conn."""
    wake_waiting(p, u)
    admit_waiting(p, u)


# ---------------------------------------------------------------- endpoints


cdef bint is_at(const Endpoint *e, bytes addr, bytes authority) except -1:
    return (
        e.addr_len == len(addr) and e.authority_len == len(authority)
        and memcmp(e.addr, <const char *>addr, e.addr_len) == 0
        and memcmp(e.authority, <const char *>authority, e.authority_len) == 0
    )


cdef Endpoint *new_slot(Plane *p, Upstream *u, bytes addr, bytes authority) except NULL:
    cdef Endpoint *e
    cdef void *grown
    if len(addr) > sizeof(e.addr) or len(authority) > sizeof(e.authority):
        raise ValueError("the address of an endpoint is too long")
    if p.n_endpoints == ALL_OTHERS:
        raise ValueError("no slot is left for another endpoint; a restart is needed")
    grown = realloc(p.endpoints, (p.n_endpoints + 1) * sizeof(Endpoint *))
    if grown == NULL:
        raise MemoryError
    p.endpoints = <Endpoint **>grown
    e = <Endpoint *>calloc(1, sizeof(Endpoint))
    if e == NULL:
        raise MemoryError
    e.upstream = u
    e.index = p.n_endpoints
    e.removed = 1
    e.weight = 1
    idle_init(e)
    e.addr_len = <uint32_t>len(addr)
    memcpy(e.addr, <const char *>addr, len(addr))
    e.authority_len = <uint32_t>len(authority)
    memcpy(e.authority, <const char *>authority, len(authority))
    p.endpoints[p.n_endpoints] = e
    p.n_endpoints += 1
    return e


cdef int name_server(Endpoint *e, bytes name) except -1:
    if len(name) >= sizeof(e.tls_name):
        raise ValueError("the host of an endpoint is too long")
    memcpy(e.tls_name, <const char *>name, len(name))
    return 0


cdef int join(Upstream *u, Endpoint *e) except -1:
    cdef void *grown = realloc(u.endpoints, (u.n_endpoints + 1) * sizeof(Endpoint *))
    if grown == NULL:
        raise MemoryError
    u.endpoints = <Endpoint **>grown
    u.endpoints[u.n_endpoints] = e
    u.n_endpoints += 1
    e.removed = 0
    e.up = 1
    e.draining = 0
    e.busy_until_ns = e.ramp_ns = 0
    breaker_off(&e.breaker)
    limit_begin(e)
    pace_forget(e)
    return 0


cdef void return_to_rotation(Plane *p, Endpoint *e) noexcept nogil:
    """Somebody who asked it found it well: a breaker that is open need not wait, and the endpoint
    begins slowly."""
    if e.breaker.state == BREAKER_OPEN:
        e.breaker.due_ns = p.now_ns
    e.ramp_ns = p.now_ns
    pace_forget(e)


cdef Endpoint *roster_add_endpoint(Plane *p, Upstream *u, tuple spec, list urls) except NULL:
    """Into rotation, in the slot it had before if it had one. `urls` are by slot; a new one is
    named before it is there, because another thread looks names up."""
    cdef Endpoint *e
    cdef uint32_t i
    cdef bytes called
    url, addr, authority = spec[:3]
    server = spec[5] if len(spec) > 5 else b""
    for i in range(p.n_endpoints):
        e = p.endpoints[i]
        if e.removed and e.upstream == u and urls[i] == url and is_at(e, addr, authority):
            break
    else:
        urls.append(url)
        called = url.encode()
        try:
            e = new_slot(p, u, addr, authority)
            name_server(e, server)
            e.hash = zp_hash(<const char *>called, len(called))
        except BaseException:
            urls.pop()
            raise
    join(u, e)
    return e


cdef void roster_remove(Plane *p, Endpoint *e) noexcept nogil:
    """Out of rotation and off its upstream's list; what runs on it finishes."""
    cdef Upstream *u = e.upstream
    cdef uint32_t i, kept = 0
    for i in range(u.n_endpoints):
        if u.endpoints[i] != e:
            u.endpoints[kept] = u.endpoints[i]
            kept += 1
    u.n_endpoints = kept
    e.removed = 1
    e.up = 0
    e.draining = 1
    idle_stop(p, e)
    endpoint_drop_idle(p, e)
    # In its slot again it is warmed: its words differ from these.
    memset(&e.pool, 0, sizeof(e.pool))
    wake_all(p, u)


cdef bint rests_alike(const Pool *a, const Pool *b) noexcept nogil:
    return (
        a.max_idle == b.max_idle and a.idle_ns == b.idle_ns and a.max_age_ns == b.max_age_ns
        and a.learns == b.learns
    )


cdef int roster_set_pool(Plane *p, Endpoint *e, dict words) except -1:
    """Write all words of the pool, and warm it. If the terms of rest change, what rests goes: it
    was armed under the old ones."""
    cdef Pool was = e.pool
    cdef Pool new
    memset(&new, 0, sizeof(new))
    read_pool(&new, words)
    if memcmp(&was, &new, sizeof(new)) == 0:
        return 0
    e.pool = new
    if not rests_alike(&was, &new):
        endpoint_drop_idle(p, e)
    idle_begin(p, e)
    wake_all(p, e.upstream)
    return 0


cdef int tell_load(Plane *p, Endpoint *e, load) except -1:
    cdef double[3] said
    said[0], said[1], said[2] = [min(float(x), 1e9) for x in load[:3]]
    if said[0] < 0 or said[1] < 0:
        raise ValueError("a load cannot be negative")
    pace_tell(e, said, ns(load[3]), p.now_ns)
    return 0


cdef int roster_set_endpoint(Plane *p, Endpoint *e, dict words) except -1:
    """Write the words that are not None. One that leaves rotation loses its idle conns; one that
    comes back is warmed."""
    cdef bint was_up = e.up and not e.draining
    weight = words["weight"]
    if weight is not None:
        e.weight = max(int(weight), 1)
    if words["wish"] is not None:
        e.wish = words["wish"]
    if words["load"] is not None:
        tell_load(p, e, words["load"])
    if words["up"] is not None:
        if words["up"] and not e.up:
            return_to_rotation(p, e)
        e.up = bool(words["up"])
    if words["draining"] is not None:
        e.draining = bool(words["draining"])
    if not e.up or e.draining:
        idle_stop(p, e)
        endpoint_drop_idle(p, e)
        e.is_warm = 1       # nobody need wait for it
    elif not was_up:
        idle_begin(p, e)
    wake_all(p, e.upstream)
    return 0


# ---------------------------------------------------------------- routes


cdef int roster_set_routes(Plane *p, routes, int rest) except -1:
    """Models of at most MODEL_MAX bytes, servers' names for them of at most REAL_MAX as JSON."""
    cdef Route *table = <Route *>calloc(max(len(routes), 1), sizeof(Route))
    cdef Route *row = table
    cdef bytes name, real, plain
    cdef void *grown
    if table == NULL:
        raise MemoryError
    for model, index, real in routes:
        name = model.encode()
        plain = json.loads(real).encode() if real else b""
        if not 0 < len(name) <= sizeof(row.model) or len(real) > sizeof(row.real) \
                or len(plain) > sizeof(row.plain):
            free(table)
            raise ValueError(f"the name of the model {model!r} is too long")
        row.upstream = index
        row.len = <uint16_t>len(name)
        memcpy(row.model, <const char *>name, len(name))
        row.real_len = <uint16_t>len(real)
        memcpy(row.real, <const char *>real, len(real))
        row.plain_len = <uint16_t>len(plain)
        memcpy(row.plain, <const char *>plain, len(plain))
        row += 1
    p.default_upstream = rest
    if p.n_routes == len(routes) and memcmp(p.routes, table, len(routes) * sizeof(Route)) == 0:
        free(table)
        return 0
    # A request that is being read may still borrow a name: the old table stays until the end.
    grown = realloc(p.old_routes, (p.n_old_routes + 1) * sizeof(void *))
    if grown == NULL:
        free(table)
        raise MemoryError
    p.old_routes = <void **>grown
    p.old_routes[p.n_old_routes] = p.routes
    p.n_old_routes += 1
    p.routes = table
    p.n_routes = <uint32_t>len(routes)
    return 0


cdef int roster_set_models(Plane *p, bytes body) except -1:
    cdef char *copy = NULL
    if body is not None:
        copy = <char *>malloc(max(len(body), 1))
        if copy == NULL:
            raise MemoryError
        memcpy(copy, <const char *>body, len(body))
    free(p.models)
    p.models = copy
    p.models_len = 0 if body is None else <uint32_t>len(body)
    return 0


cdef void roster_free(Plane *p) noexcept nogil:
    """Every struct the plane's tables point to, and the tables."""
    cdef uint32_t i
    cdef Conn *c
    keyring_free(p)
    for i in range(p.n_relays):
        free(p.relays[i])
    free(p.relays)
    while p.free_conns != NULL:
        c = p.free_conns
        p.free_conns = c.next
        free(c)
    for i in range(p.n_endpoints):
        free(p.endpoints[i])
    free(p.endpoints)
    tls_drop(&p.tls)
    for i in range(p.n_upstreams):
        tls_drop(&p.upstreams[i].tls)
        free(p.upstreams[i].endpoints)
        free(p.upstreams[i].queue.lanes)
        free(p.upstreams[i].queue.shares)
        free(p.upstreams[i])
    free(p.upstreams)
    free(p.routes)
    for i in range(p.n_old_routes):
        free(p.old_routes[i])
    free(p.old_routes)
    free(p.models)
