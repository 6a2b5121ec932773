"""What the configuration sets, each prepared as a Step of a change (engine/change.pyx).

Law. Whatever can fail (a value, memory) fails in `stage_x`, which leaves the plane as it is. It
     sets `apply` last: a Step without it was not finished, and its change is refused. What
     `apply_x` replaces it gives to the Step, which frees it without the turn.
Tests: tests/relay/test_change.py.
"""

from libc.math cimport INFINITY
from libc.stdint cimport int8_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

from zeroproxy._fast.engine.settings cimport (
    parse_admission,
    parse_breaker,
    parse_limits,
    parse_pool,
    read_hash,
)
from zeroproxy._fast.engine.tls_context cimport Context, tls_adopt, tls_drop
from zeroproxy._fast.engine.values cimport choice, demand_type, encoded, flag, ns, number, whole
from zeroproxy._fast.exchange.attempt cimport wake_waiting
from zeroproxy._fast.exchange.permits cimport admit_waiting
from zeroproxy._fast.types.admission cimport AdmissionSettings
from zeroproxy._fast.types.balance cimport HashSettings
from zeroproxy._fast.types.breaker cimport BreakerSettings
from zeroproxy._fast.types.change cimport Step
from zeroproxy._fast.types.limits cimport HEDGE_ONE, Limits
from zeroproxy._fast.types.plane cimport Endpoint, Plane, Upstream
from zeroproxy._fast.types.pool cimport PoolSettings
from zeroproxy._fast.upstream.breaker cimport BREAKER_OPEN, breaker_off
from zeroproxy._fast.upstream.concurrency_limit cimport limit_begin
from zeroproxy._fast.upstream.endpoint cimport endpoint_drop_idle
from zeroproxy._fast.upstream.latency_model cimport latency_forget, latency_report_load
from zeroproxy._fast.upstream.prewarm cimport prewarm_begin, prewarm_stop

from zeroproxy._fast.engine.enum_names import BALANCES, USAGE_REQUESTS
from zeroproxy._fast.engine.settings_types import ReportedLoad, UpstreamSettings
from zeroproxy.config import schema

cdef enum:
    BEARER_MOST = 0xFFFF        # bytes; the length is kept in 16 bits
    ATTEMPTS_MOST = 255         # Relay.n_attempts counts them in 8 bits
cdef uint64_t WEIGHT_MOST = 0xFFFFFFFF


cdef void *make(Step *s, size_t size) except NULL:
    s.what = calloc(1, size)
    if s.what == NULL:
        raise MemoryError
    s.discard = free
    return s.what


cdef void wake_all(Plane *p, Upstream *u) noexcept nogil:
    """What its endpoints can take has changed: for who waits for a permit, or for a conn."""
    wake_waiting(p, u)
    admit_waiting(p, u)


# ---------------------------------------------------------------- limits, switches


cdef void apply_limits(Plane *p, void *what) noexcept nogil:
    p.limits = (<Limits *>what)[0]


cdef int stage_limits(Step *s, limits) except -1:
    parse_limits(<Limits *>make(s, sizeof(Limits)), limits)
    s.apply = apply_limits
    return 0


cdef void apply_switches(Plane *p, void *what) noexcept nogil:
    p.adds_via = (<uint8_t *>what)[0]
    p.trusts_forwarded = (<uint8_t *>what)[1]
    p.serves_half_close = (<uint8_t *>what)[2]


cdef int stage_switches(Step *s, via, trust_forwarded, serve_half_close) except -1:
    cdef uint8_t *all_ = <uint8_t *>make(s, 3)
    all_[0] = flag(via, "via")
    all_[1] = flag(trust_forwarded, "trust_forwarded")
    all_[2] = flag(serve_half_close, "serve_half_close")
    s.apply = apply_switches
    return 0


# ---------------------------------------------------------------- upstreams

cdef struct UpstreamTerms:  # what the configuration says of one
    Upstream *u
    uint8_t balance
    uint8_t retry_on_busy
    uint8_t passes_cookies
    HashSettings affinity
    AdmissionSettings admission
    BreakerSettings breaker
    uint32_t attempts
    uint32_t hedge_share
    uint64_t queue_ns
    uint64_t connect_ns
    uint64_t first_byte_ns
    uint64_t stream_idle_ns
    uint64_t total_ns
    uint64_t hedge_ns
    uint16_t bearer_len
    char *bearer


cdef void apply_upstream(Plane *p, void *what) noexcept nogil:
    cdef UpstreamTerms *t = <UpstreamTerms *>what
    cdef Upstream *u = t.u
    cdef uint32_t i
    u.balance = t.balance
    u.retry_on_busy = t.retry_on_busy
    u.passes_cookies = t.passes_cookies
    u.hash = t.affinity
    u.admission = t.admission
    u.breaker = t.breaker
    u.max_attempts = t.attempts
    u.hedge_share = t.hedge_share
    u.queue_ns = t.queue_ns
    u.connect_ns = t.connect_ns
    u.first_byte_ns = t.first_byte_ns
    u.stream_idle_ns = t.stream_idle_ns
    u.total_ns = t.total_ns
    u.hedge_ns = t.hedge_ns
    u.bearer_len = t.bearer_len
    u.bearer, t.bearer = t.bearer, u.bearer
    for i in range(u.n_endpoints):
        limit_begin(u.endpoints[i])
        if u.breaker.failures == 0 and u.breaker.rate == 0:
            breaker_off(&u.endpoints[i].breaker)
    p.breaker_changed = 1
    admit_waiting(p, u)


cdef void discard_upstream(void *what) noexcept nogil:
    free((<UpstreamTerms *>what).bearer)
    free(what)


cdef int read_bearer(UpstreamTerms *t, api_key) except -1:
    """The upstream's own key; "": it has none."""
    cdef bytes name = b"Bearer "
    cdef bytes key = encoded(api_key, "upstream.api_key", BEARER_MOST - len(name))
    cdef bytes whole_ = name + key if key else b""
    if whole_:
        t.bearer = <char *>malloc(len(whole_))
        if t.bearer == NULL:
            raise MemoryError
        memcpy(t.bearer, <const char *>whole_, len(whole_))
    t.bearer_len = <uint16_t>len(whole_)
    return 0


cdef int read_patience(UpstreamTerms *t, settings) except -1:
    """How long what may take, and what is tried again."""
    timeouts, retry, hedge = settings.timeouts, settings.retry, settings.hedge
    demand_type(timeouts, "timeouts", schema.Timeouts)
    demand_type(retry, "retry", schema.Retry)
    demand_type(hedge, "hedge", schema.Hedge)
    t.queue_ns = ns(settings.admission.queue_timeout, "admission.queue_timeout")
    t.connect_ns = ns(timeouts.connect, "timeouts.connect")
    t.first_byte_ns = ns(timeouts.first_byte, "timeouts.first_byte")
    t.stream_idle_ns = ns(timeouts.stream_idle, "timeouts.stream_idle")
    t.total_ns = ns(timeouts.total, "timeouts.total")
    t.attempts = whole(retry.attempts, "retry.attempts", 1, ATTEMPTS_MOST)
    t.retry_on_busy = flag(retry.on_busy, "retry.on_busy")
    t.hedge_ns = ns(hedge.after, "hedge.after")
    t.hedge_share = <uint32_t>(number(hedge.budget, "hedge.budget", 0, 1) * HEDGE_ONE)
    return 0


cdef int stage_upstream(Step *s, Upstream *u, settings) except -1:
    """`settings`: UpstreamSettings."""
    cdef UpstreamTerms *t = <UpstreamTerms *>make(s, sizeof(UpstreamTerms))
    s.discard = discard_upstream
    demand_type(settings, "settings", UpstreamSettings)
    t.u = u
    t.balance = choice(settings.balance, "upstream.balance", BALANCES)
    t.passes_cookies = flag(settings.cookies, "upstream.cookies")
    read_hash(&t.affinity, settings.hash)
    parse_admission(&t.admission, settings.admission)
    parse_breaker(&t.breaker, settings.breaker)
    read_patience(t, settings)
    read_bearer(t, settings.api_key)
    s.apply = apply_upstream
    return 0


# ---------------------------------------------------------------- endpoints

cdef struct EndpointWords:
    Endpoint *e
    int8_t up               # -1: stays as it is
    int8_t draining
    int8_t probe_ok
    int64_t weight
    int usage_request
    uint8_t has_load
    double[3] load
    uint64_t load_ns


cdef void return_to_rotation(Plane *p, Endpoint *e) noexcept nogil:
    """Somebody who asked it found it well: a breaker that is open need not wait, and the endpoint
    begins slowly."""
    if e.breaker.state == BREAKER_OPEN:
        e.breaker.due_ns = p.now_ns
    e.slow_start_ns = p.now_ns
    latency_forget(e)


cdef void apply_endpoint(Plane *p, void *what) noexcept nogil:
    """One that leaves rotation loses its idle conns; one that comes back is warmed."""
    cdef EndpointWords *w = <EndpointWords *>what
    cdef Endpoint *e = w.e
    cdef bint was_up = e.in_rotation and not e.draining
    if e.removed:
        return
    if w.weight >= 0:
        e.weight = <uint32_t>w.weight
    if w.usage_request >= 0:
        e.usage_request = <uint8_t>w.usage_request
    if w.probe_ok >= 0:
        e.probe_ok = w.probe_ok
    if w.has_load:
        latency_report_load(e, w.load, w.load_ns, p.now_ns)
    if w.up == 1 and not e.in_rotation:
        return_to_rotation(p, e)
    if w.up >= 0:
        e.in_rotation = w.up
    if w.draining >= 0:
        e.draining = w.draining
    if not e.in_rotation or e.draining:
        prewarm_stop(p, e)
        endpoint_drop_idle(p, e)
        e.is_warm = 1       # nobody need wait for it
    elif not was_up:
        prewarm_begin(p, e)
    wake_all(p, e.upstream)


cdef int read_load(EndpointWords *w, load) except -1:
    demand_type(load, "load", ReportedLoad)
    w.load[0] = min(number(load.running, "load.running", 0, INFINITY), 1e9)
    w.load[1] = min(number(load.waiting, "load.waiting", 0, INFINITY), 1e9)
    w.load[2] = min(number(load.cache, "load.cache", -1, INFINITY), 1e9)
    w.load_ns = ns(load.lasts, "load.lasts")
    w.has_load = 1
    return 0


cdef int read_switch(int8_t *to, value, str key) except -1:
    """-1: stays as it is."""
    to[0] = -1 if value is None else <int8_t>flag(value, key)
    return 0


cdef int stage_endpoint(
    Step *s, Endpoint *e, up, draining, weight, usage_request, load, probe_ok
) except -1:
    """What is None stays as it is."""
    cdef EndpointWords *w = <EndpointWords *>make(s, sizeof(EndpointWords))
    w.e = e
    read_switch(&w.up, up, "up")
    read_switch(&w.draining, draining, "draining")
    read_switch(&w.probe_ok, probe_ok, "probe_ok")
    w.weight = -1 if weight is None else <int64_t>whole(weight, "weight", 1, WEIGHT_MOST)
    w.usage_request = -1
    if usage_request is not None:
        w.usage_request = choice(usage_request, "usage_request", USAGE_REQUESTS)
    if load is not None:
        read_load(w, load)
    s.apply = apply_endpoint
    return 0


cdef struct PoolTerms:
    Endpoint *e
    PoolSettings pool


cdef bint same_idle_settings(const PoolSettings *a, const PoolSettings *b) noexcept nogil:
    return (
        a.max_idle == b.max_idle and a.idle_ns == b.idle_ns and a.max_age_ns == b.max_age_ns
        and a.learns == b.learns
    )


cdef void apply_pool(Plane *p, void *what) noexcept nogil:
    """If the terms of rest change, what rests goes: it was armed under the old ones."""
    cdef PoolTerms *t = <PoolTerms *>what
    cdef Endpoint *e = t.e
    cdef bint alike = same_idle_settings(&e.pool, &t.pool)
    if e.removed or memcmp(&e.pool, &t.pool, sizeof(PoolSettings)) == 0:
        return
    e.pool = t.pool
    if not alike:
        endpoint_drop_idle(p, e)
    prewarm_begin(p, e)
    wake_all(p, e.upstream)


cdef int stage_pool(Step *s, Endpoint *e, pool) except -1:
    """`pool`: config.Pool; it is warmed."""
    cdef PoolTerms *t = <PoolTerms *>make(s, sizeof(PoolTerms))
    t.e = e
    parse_pool(&t.pool, pool)
    s.apply = apply_pool
    return 0


# ---------------------------------------------------------------- TLS

cdef struct TlsTerms:
    void **place
    void *ctx               # a reference of ours
    Upstream *u             # NULL: of the listeners
    char[256] name


cdef void apply_tls(Plane *p, void *what) noexcept nogil:
    """New conns are opened with it. Those that are open keep theirs; idle ones go."""
    cdef TlsTerms *t = <TlsTerms *>what
    cdef uint32_t i
    t.place[0], t.ctx = t.ctx, t.place[0]
    if t.u == NULL:
        return
    memcpy(t.u.tls_name, t.name, sizeof(t.name))
    for i in range(t.u.n_endpoints):
        if t.u.endpoints[i].tls_name[0]:
            endpoint_drop_idle(p, t.u.endpoints[i])


cdef void discard_tls(void *what) noexcept nogil:
    tls_drop(&(<TlsTerms *>what).ctx)
    free(what)


cdef int stage_tls(Step *s, void **place, Upstream *u, Context context, bytes name) except -1:
    """`name`: whom the certificates of its endpoints have to name; empty: each its own host."""
    cdef TlsTerms *t = <TlsTerms *>make(s, sizeof(TlsTerms))
    s.discard = discard_tls
    if len(name) >= sizeof(t.name):
        raise ValueError(f"server_name: longer than {sizeof(t.name) - 1} bytes")
    memcpy(t.name, <const char *>name, len(name))
    t.place = place
    t.u = u
    tls_adopt(&t.ctx, context)
    s.apply = apply_tls
    return 0
