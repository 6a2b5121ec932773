"""Upstreams and endpoints: their slots, and the endpoints of each upstream.

Law 1. A struct never moves and is never freed while the plane lives: conns, relays and records
       hold its address or its index. Only the arrays of pointers grow.
Law 2. `upstream.endpoints` are those in force, in no promised order; `plane.endpoints` are all
       there ever were, by index. A removed endpoint keeps its slot, and gets it back only for the
       same address: an index means one URL for ever.
Law 3. Only staging can fail, and it leaves everything in force as it is.
Tests: tests/relay/test_reload.py, tests/relay/test_change.py.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

from zeroproxy._fast.engine.api_key_table cimport api_keys_free
from zeroproxy._fast.engine.cors_table cimport cors_free
from zeroproxy._fast.engine.surface_table cimport surfaces_free
from zeroproxy._fast.engine.tls_context cimport tls_drop
from zeroproxy._fast.exchange.attempt_release cimport wake_waiting
from zeroproxy._fast.exchange.hold cimport hold_init, hold_review
from zeroproxy._fast.exchange.permits cimport admit_waiting
from zeroproxy._fast.tenants.fair_queue cimport shares_stage, shares_use
from zeroproxy._fast.types.admission_limits cimport TenantShare
from zeroproxy._fast.types.hold cimport DOUBT_NONE
from zeroproxy._fast.types.plane cimport Conn, Endpoint, Plane, Upstream
from zeroproxy._fast.upstream.breaker cimport breaker_off
from zeroproxy._fast.upstream.concurrency_limit cimport limit_begin
from zeroproxy._fast.upstream.conn_pool cimport endpoint_drop_idle
from zeroproxy._fast.upstream.latency_model cimport latency_forget
from zeroproxy._fast.upstream.prewarm cimport prewarm_init, prewarm_stop
from zeroproxy._fast.usage.stats cimport ALL_OTHERS


cdef extern from "hash.h" nogil:
    uint64_t zp_hash(const void *at, size_t len)


# ---------------------------------------------------------------- upstreams


cdef Upstream *registry_add_upstream(Plane *p) except NULL:
    cdef Upstream *u = <Upstream *>calloc(1, sizeof(Upstream))
    cdef void *grown = realloc(p.upstreams, (p.n_upstreams + 1) * sizeof(Upstream *))
    cdef TenantShare *shares = NULL
    if grown != NULL:
        p.upstreams = <Upstream **>grown
    if u != NULL:
        shares = shares_stage(&u.queue, p.keys.n_tenants)
    if grown == NULL or shares == NULL:
        free(u)
        free(shares)
        raise MemoryError
    shares_use(&u.queue, shares, p.keys.n_tenants)
    u.index = p.n_upstreams
    u.chance = p.id_seed[1] + p.n_upstreams + 1
    u.chance += u.chance == 0
    hold_init(u)
    p.upstreams[p.n_upstreams] = u
    p.n_upstreams += 1
    return u


cdef void free_upstream(Upstream *u) noexcept nogil:
    tls_drop(&u.tls)
    free(u.bearer)
    free(u.host)
    free(u.endpoints)
    free(u.queue.tenant_queues)
    free(u.queue.shares)
    free(u)


cdef void registry_undo_upstream(Plane *p) noexcept nogil:
    """Remove the last upstream; no endpoint and no request refers to it."""
    p.n_upstreams -= 1
    free_upstream(p.upstreams[p.n_upstreams])


# ---------------------------------------------------------------- endpoints


cdef bint is_at(const Endpoint *e, bytes addr, bytes authority) except -1:
    return (
        e.addr_len == len(addr) and e.authority_len == len(authority)
        and memcmp(e.addr, <const char *>addr, e.addr_len) == 0
        and memcmp(e.authority, <const char *>authority, e.authority_len) == 0
    )


cdef Endpoint *new_slot(Plane *p, Upstream *u, settings) except NULL:
    """`settings` were checked (settings.pyx, check_endpoint): these bytes fit."""
    cdef bytes addr = settings.sockaddr, authority = settings.authority
    cdef bytes server = settings.tls_host
    cdef Endpoint *e
    cdef void *grown
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
    prewarm_init(e)
    e.addr_len = <uint32_t>len(addr)
    memcpy(e.addr, <const char *>addr, len(addr))
    e.authority_len = <uint32_t>len(authority)
    memcpy(e.authority, <const char *>authority, len(authority))
    memcpy(e.tls_name, <const char *>server, len(server))
    p.endpoints[p.n_endpoints] = e
    p.n_endpoints += 1
    return e


cdef int reserve_place(Upstream *u, uint32_t n) except -1:
    """Grow the list for `n` more endpoints."""
    cdef void *grown
    if u.n_endpoints + n > u.cap_endpoints:
        grown = realloc(u.endpoints, (u.n_endpoints + n) * sizeof(Endpoint *))
        if grown == NULL:
            raise MemoryError
        u.endpoints = <Endpoint **>grown
        u.cap_endpoints = u.n_endpoints + n
    return 0


cdef int find_slot(Plane *p, Upstream *u, settings, list urls) except -1:
    """Index of the slot it had before; n_endpoints: none."""
    cdef bytes addr = settings.sockaddr, authority = settings.authority
    cdef str url = settings.url
    cdef Endpoint *e
    cdef uint32_t i
    for i in range(p.n_endpoints):
        e = p.endpoints[i]
        if e.removed and e.upstream == u and urls[i] == url and is_at(e, addr, authority):
            return <int>i
    return <int>p.n_endpoints


cdef Endpoint *registry_stage_endpoint(
    Plane *p, Upstream *u, settings, list urls, uint32_t n_staged
) except NULL:
    """After it `registry_join` cannot fail. A new slot is named before it exists, because another
    thread reads names."""
    cdef Endpoint *e
    cdef bytes url = settings.url.encode()
    cdef int at
    reserve_place(u, n_staged + 1)
    at = find_slot(p, u, settings, urls)
    if at < <int>p.n_endpoints:
        return p.endpoints[at]
    urls.append(settings.url)
    try:
        e = new_slot(p, u, settings)
    except BaseException:
        urls.pop()
        raise
    e.hash = zp_hash(<const char *>url, len(url))
    return e


cdef void registry_undo_endpoint(Plane *p) noexcept nogil:
    """Remove the last slot, which has never been in force."""
    p.n_endpoints -= 1
    free(p.endpoints[p.n_endpoints])


cdef void registry_join(Plane *p, void *what) noexcept nogil:
    """Put an endpoint in force and in rotation; without effect if it is."""
    cdef Endpoint *e = <Endpoint *>what
    cdef Upstream *u = e.upstream
    if not e.removed:
        return
    u.endpoints[u.n_endpoints] = e
    u.n_endpoints += 1
    e.removed = 0
    e.in_rotation = 1
    e.draining = 0
    e.probe_ok = 0
    e.doubt = DOUBT_NONE
    e.model_len = 0
    e.deprioritized_until_ns = e.slow_start_ns = 0
    breaker_off(&e.breaker)
    limit_begin(e)
    latency_forget(e)
    hold_review(p, u)


cdef void registry_remove(Plane *p, void *what) noexcept nogil:
    """Remove it from rotation and from its upstream's list; exchanges on it finish."""
    cdef Endpoint *e = <Endpoint *>what
    cdef Upstream *u = e.upstream
    cdef uint32_t i, kept = 0
    if e.removed:
        return
    for i in range(u.n_endpoints):
        if u.endpoints[i] != e:
            u.endpoints[kept] = u.endpoints[i]
            kept += 1
    u.n_endpoints = kept
    e.removed = 1
    e.in_rotation = 0
    e.draining = 1
    prewarm_stop(p, e)
    endpoint_drop_idle(p, e)
    # If the endpoint comes back, its settings differ from these, and it is warmed.
    memset(&e.pool, 0, sizeof(e.pool))
    wake_waiting(p, u)
    hold_review(p, u)
    admit_waiting(p, u)


# ---------------------------------------------------------------- the list of models


cdef int registry_set_models(Plane *p, bytes body) except -1:
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


cdef void registry_free(Plane *p) noexcept nogil:
    cdef uint32_t i
    cdef Conn *c
    api_keys_free(p)
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
        free_upstream(p.upstreams[i])
    free(p.upstreams)
    free(p.routes)
    for i in range(p.n_old_routes):
        free(p.old_routes[i])
    free(p.old_routes)
    cors_free(p)
    surfaces_free(p)
    free(p.models)
