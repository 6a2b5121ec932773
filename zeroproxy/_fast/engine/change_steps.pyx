"""Settings of the configuration, each prepared as a Step of a change (engine/change.pyx).

Law. Only `stage_x` can fail (a value, memory), and it leaves the plane as it is. It sets `apply`
     last: a Step without it was not finished, and its change is refused. Memory that `apply_x`
     replaces goes to the Step, which frees it without the plane lock.
Tests: tests/relay/test_change.py.
"""

from libc.stdint cimport int8_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from zeroproxy._fast.engine.host_value cimport copy_text, read_host
from zeroproxy._fast.engine.settings cimport (
    parse_admission,
    parse_breaker,
    parse_hash,
    parse_limits,
    parse_pool,
)
from zeroproxy._fast.engine.tls_context cimport Context, tls_adopt, tls_drop
from zeroproxy._fast.engine.values cimport choice, demand_type, encoded, flag, ns, number, whole
from zeroproxy._fast.exchange.attempt_release cimport wake_waiting
from zeroproxy._fast.exchange.hold cimport hold_review, hold_trust
from zeroproxy._fast.exchange.permits cimport admit_waiting
from zeroproxy._fast.types.admission_limits cimport AdmissionSettings
from zeroproxy._fast.types.affinity_and_latency cimport HashSettings
from zeroproxy._fast.types.breaker cimport BreakerSettings
from zeroproxy._fast.types.change cimport Step
from zeroproxy._fast.types.conn_pool cimport PoolSettings
from zeroproxy._fast.types.exchange_limits cimport HEDGE_ONE, KEEPALIVE_AUTO, Limits
from zeroproxy._fast.types.hold cimport DOUBT_NONE, DOUBT_PROBE
from zeroproxy._fast.types.key_terms cimport UpstreamTerms
from zeroproxy._fast.types.plane cimport Endpoint, Plane, Upstream
from zeroproxy._fast.upstream.breaker cimport BREAKER_OPEN, breaker_off
from zeroproxy._fast.upstream.concurrency_limit cimport limit_begin
from zeroproxy._fast.upstream.conn_pool cimport endpoint_drop_idle
from zeroproxy._fast.upstream.latency_model cimport latency_forget, latency_report_load
from zeroproxy._fast.upstream.prewarm cimport prewarm_begin, prewarm_stop

from zeroproxy._fast.engine.enum_names import BALANCES, PRIORITY_FIELDS, SALT_BY, USAGE_REQUESTS
from zeroproxy._fast.engine.settings_types import LOAD_MOST, ReportedLoad, UpstreamSettings
from zeroproxy.config import schema

cdef enum:
    BEARER_MOST = 0xFFFF        # bytes; the length is kept in 16 bits
    ATTEMPTS_MOST = 255         # Exchange.n_attempts counts them in 8 bits
cdef uint64_t WEIGHT_MOST = 0xFFFFFFFF
cdef uint64_t MODEL_LEN_MOST = 0x7FFFFFFF


cdef void *make(Step *s, size_t size) except NULL:
    s.what = calloc(1, size)
    if s.what == NULL:
        raise MemoryError
    s.discard = free
    return s.what


cdef void wake_all(Plane *p, Upstream *u) noexcept nogil:
    """Wake relays that wait for a conn or a permit: the endpoints may take more than before, or
    none of them does any more."""
    hold_review(p, u)
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


cdef void apply_keepalive(Plane *p, void *what) noexcept nogil:
    p.keepalive_ns = (<uint64_t *>what)[0]


cdef int stage_keepalive(Step *s, after) except -1:
    cdef uint64_t *after_ns = <uint64_t *>make(s, sizeof(uint64_t))
    after_ns[0] = <uint64_t>KEEPALIVE_AUTO if after is None else ns(after, "after")
    s.apply = apply_keepalive
    return 0


# ---------------------------------------------------------------- upstreams

cdef struct UpstreamChange:
    Upstream *u
    uint8_t balance
    uint8_t retry_on_busy
    uint8_t passes_cookies
    uint8_t sends_own_host
    UpstreamTerms terms
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
    uint16_t host_len
    char *host


cdef void apply_upstream(Plane *p, void *what) noexcept nogil:
    cdef UpstreamChange *t = <UpstreamChange *>what
    cdef Upstream *u = t.u
    cdef uint32_t i
    u.balance = t.balance
    u.retry_on_busy = t.retry_on_busy
    u.passes_cookies = t.passes_cookies
    u.sends_own_host = t.sends_own_host
    u.terms = t.terms
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
    u.host_len = t.host_len
    u.host, t.host = t.host, u.host
    for i in range(u.n_endpoints):
        limit_begin(u.endpoints[i])
        if u.breaker.failures == 0 and u.breaker.rate == 0:
            breaker_off(&u.endpoints[i].breaker)
    p.breaker_changed = 1
    hold_review(p, u)
    admit_waiting(p, u)


cdef void discard_upstream(void *what) noexcept nogil:
    free((<UpstreamChange *>what).bearer)
    free((<UpstreamChange *>what).host)
    free(what)


cdef int read_bearer(UpstreamChange *t, api_key) except -1:
    """`api_key`: the upstream's own; "": it has none."""
    cdef bytes name = b"Bearer "
    cdef bytes key = encoded(api_key, "upstream.api_key", BEARER_MOST - len(name))
    cdef bytes whole_ = name + key if key else b""
    copy_text(&t.bearer, whole_)
    t.bearer_len = <uint16_t>len(whole_)
    return 0


cdef int read_timeouts(UpstreamChange *t, settings) except -1:
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
    cdef UpstreamChange *t = <UpstreamChange *>make(s, sizeof(UpstreamChange))
    s.discard = discard_upstream
    demand_type(settings, "settings", UpstreamSettings)
    t.u = u
    t.balance = choice(settings.balance, "upstream.balance", BALANCES)
    t.passes_cookies = flag(settings.cookies, "upstream.cookies")
    t.terms.priority_field = choice(
        settings.priority_field, "upstream.priority_field", PRIORITY_FIELDS
    )
    t.terms.salt_by = choice(settings.cache_salt, "upstream.cache_salt", SALT_BY)
    parse_hash(&t.affinity, settings.hash)
    parse_admission(&t.admission, settings.admission)
    parse_breaker(&t.breaker, settings.breaker)
    read_timeouts(t, settings)
    read_bearer(t, settings.api_key)
    t.sends_own_host = read_host(settings.host, &t.host, &t.host_len)
    s.apply = apply_upstream
    return 0


# ---------------------------------------------------------------- endpoints

cdef struct EndpointChange:
    Endpoint *e
    int8_t up               # -1: unchanged, as all below
    int8_t draining
    int8_t probe_ok
    int8_t loading
    int64_t weight
    int usage_request
    int64_t model_len
    uint8_t has_load
    double[3] load
    uint64_t load_ns


cdef void return_to_rotation(Plane *p, Endpoint *e) noexcept nogil:
    """A health probe was answered well: an open breaker need not wait, and the endpoint starts
    slowly."""
    if e.breaker.state == BREAKER_OPEN:
        e.breaker.due_ns = p.now_ns
    e.slow_start_ns = p.now_ns
    e.doubt = DOUBT_NONE
    latency_forget(e)


cdef void note_probe(Plane *p, EndpointChange *w) noexcept nogil:
    if w.probe_ok >= 0:
        w.e.probe_ok = w.probe_ok
    if w.probe_ok == 1:
        hold_trust(p, w.e)
    elif w.loading == 1 and w.e.doubt == DOUBT_NONE:
        w.e.doubt = DOUBT_PROBE
    elif w.loading == 0 and w.e.doubt == DOUBT_PROBE:
        w.e.doubt = DOUBT_NONE


cdef void apply_endpoint(Plane *p, void *what) noexcept nogil:
    """One that leaves rotation loses its idle conns; one that comes back is warmed."""
    cdef EndpointChange *w = <EndpointChange *>what
    cdef Endpoint *e = w.e
    cdef bint was_up = e.in_rotation and not e.draining
    if e.removed:
        return
    if w.weight >= 0:
        e.weight = <uint32_t>w.weight
    if w.usage_request >= 0:
        e.usage_request = <uint8_t>w.usage_request
    if w.model_len >= 0:
        e.model_len = <uint32_t>w.model_len
    note_probe(p, w)
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
        e.is_warm = 1       # no request is to wait for it
    elif not was_up:
        prewarm_begin(p, e)
    wake_all(p, e.upstream)


cdef int read_load(EndpointChange *w, load) except -1:
    demand_type(load, "load", ReportedLoad)
    w.load[0] = number(load.running, "load.running", 0, LOAD_MOST)
    w.load[1] = number(load.waiting, "load.waiting", 0, LOAD_MOST)
    w.load[2] = number(load.cache, "load.cache", -1, LOAD_MOST)
    w.load_ns = ns(load.lasts, "load.lasts")
    w.has_load = 1
    return 0


cdef int read_switch(int8_t *to, value, str key) except -1:
    """`to`: 0 or 1; -1 for None."""
    to[0] = -1 if value is None else <int8_t>flag(value, key)
    return 0


cdef int stage_endpoint(
    Step *s, Endpoint *e, up, draining, weight, usage_request, load, probe_ok, model_len,
    loading,
) except -1:
    cdef EndpointChange *w = <EndpointChange *>make(s, sizeof(EndpointChange))
    w.e = e
    read_switch(&w.up, up, "up")
    read_switch(&w.draining, draining, "draining")
    read_switch(&w.probe_ok, probe_ok, "probe_ok")
    read_switch(&w.loading, loading, "loading")
    w.weight = -1 if weight is None else <int64_t>whole(weight, "weight", 1, WEIGHT_MOST)
    w.usage_request = w.model_len = -1
    if model_len is not None:
        w.model_len = <int64_t>whole(model_len, "model_len", 0, MODEL_LEN_MOST)
    if usage_request is not None:
        w.usage_request = choice(usage_request, "usage_request", USAGE_REQUESTS)
    if load is not None:
        read_load(w, load)
    s.apply = apply_endpoint
    return 0


cdef struct PoolChange:
    Endpoint *e
    PoolSettings pool


cdef bint same_idle_settings(const PoolSettings *a, const PoolSettings *b) noexcept nogil:
    return (
        a.max_idle == b.max_idle and a.idle_ns == b.idle_ns and a.max_age_ns == b.max_age_ns
        and a.learns == b.learns
    )


cdef void apply_pool(Plane *p, void *what) noexcept nogil:
    """If the settings of idle conns change, those are closed: their timers follow the old ones."""
    cdef PoolChange *t = <PoolChange *>what
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
    cdef PoolChange *t = <PoolChange *>make(s, sizeof(PoolChange))
    t.e = e
    parse_pool(&t.pool, pool)
    s.apply = apply_pool
    return 0


# ---------------------------------------------------------------- TLS

cdef struct TlsChange:
    void **place
    void *ctx               # owned: a reference
    Upstream *u             # NULL: for listeners
    char[256] name


cdef void apply_tls(Plane *p, void *what) noexcept nogil:
    """Open conns keep their context; idle ones are closed."""
    cdef TlsChange *t = <TlsChange *>what
    cdef uint32_t i
    t.place[0], t.ctx = t.ctx, t.place[0]
    if t.u == NULL:
        return
    memcpy(t.u.tls_name, t.name, sizeof(t.name))
    for i in range(t.u.n_endpoints):
        if t.u.endpoints[i].tls_name[0]:
            endpoint_drop_idle(p, t.u.endpoints[i])


cdef void discard_tls(void *what) noexcept nogil:
    tls_drop(&(<TlsChange *>what).ctx)
    free(what)


cdef int stage_tls(Step *s, void **place, Upstream *u, Context context, bytes name) except -1:
    cdef TlsChange *t = <TlsChange *>make(s, sizeof(TlsChange))
    s.discard = discard_tls
    if len(name) >= sizeof(t.name):
        raise ValueError(f"server_name: longer than {sizeof(t.name) - 1} bytes")
    memcpy(t.name, <const char *>name, len(name))
    t.place = place
    t.u = u
    tls_adopt(&t.ctx, context)
    s.apply = apply_tls
    return 0
