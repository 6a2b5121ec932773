"""The plane as plain Python values: dicts, lists, ints. Runs per scrape, never per request.

Note. Long tables and lists are copied in slices: each without the GIL, and each under the plane
      lock for itself. Meanwhile they do not move: that would take the engine's lock.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from posix.unistd cimport usleep

from zeroproxy._fast.engine.health_sample cimport read_breaker
from zeroproxy._fast.engine.names cimport Names
from zeroproxy._fast.engine.thread cimport PlaneThread
from zeroproxy._fast.engine.tls_context cimport read_note, read_tls
from zeroproxy._fast.tenants.fair_queue cimport fair_queue_oldest
from zeroproxy._fast.types.admission_limits cimport TenantShare
from zeroproxy._fast.types.affinity_and_latency cimport BALANCE_FASTEST, LatencyModel, LinearFit
from zeroproxy._fast.types.clock cimport clock_monotonic_ns
from zeroproxy._fast.types.exchange_limits cimport Counters
from zeroproxy._fast.types.histogram cimport Histogram
from zeroproxy._fast.types.network cimport PROXY_FAULT_COUNT
from zeroproxy._fast.types.plane cimport Endpoint, FairQueue, Plane, Upstream
from zeroproxy._fast.types.tls cimport TlsCounters
from zeroproxy._fast.upstream.learned_keepalive cimport keepalive_limit
from zeroproxy._fast.usage.stats cimport (
    BUCKETS,
    Series,
    SeriesTable,
    Stats,
    TenantTotals,
    TokenSeries,
    TokenSums,
    TokenTable,
    histogram_bound,
)

from zeroproxy._fast.engine.enum_names import CLOSED, PROXY_FAULTS
from zeroproxy._fast.exchange.outcome_names import outcome_label


cdef enum:
    SLICE = 16              # endpoints copied under the plane lock at once
    SLOTS = 256             # slots examined at once
    BYTES = 16384           # of a table copied at once


cdef void *copy_rows(PlaneThread engine, const void *at, size_t n, size_t size) except NULL:
    """A copy of `n` rows of `size` bytes each; to be freed."""
    cdef char *copy = <char *>malloc(max(n * size, 1))
    cdef size_t done = 0, some = BYTES // size * size
    if copy == NULL:
        raise MemoryError
    with nogil:
        while done < n * size:
            some = min(some, n * size - done)
            engine.enter_plane()
            memcpy(copy + done, <const char *>at + done, some)
            engine.leave_plane()
            done += some
            if engine.p.driver.is_on and done < n * size:
                usleep(1)   # a mutex is not fair: give the driver a chance
    return copy


cdef dict read_histogram(const Histogram *h):
    return {"counts": [h.counts[i] for i in range(BUCKETS)], "sum_ns": h.sum_ns, "n": h.n}


cdef dict read_endpoint(const Endpoint *e, str url):
    return {
        "index": e.index, "url": url, "up": bool(e.in_rotation), "draining": bool(e.draining),
        "weight": e.weight, "inflight": e.inflight, "limit": e.limit.now,
        "limit_cuts": e.limit.n_cuts, "idle": e.idle.n, "opening": e.opening.n,
        "connects": e.n_connects, "connect_failures": e.n_connect_failures,
        "reused": e.n_reused, "stale": e.n_stale, "failures": e.n_failures,
        "busy": e.n_busy, "breaker": read_breaker(&e.breaker),
        "connections": e.n_conns, "stale_retries": e.n_stale_retries,
        "retries_withheld": e.n_retries_withheld, "unframed": e.n_unframed, "pool": read_pool(e),
        "tls": read_note(&e.tls_note),
        "pace": read_latency(&e.latency) if e.upstream.balance == BALANCE_FASTEST else None,
    }


cdef dict read_fit(const LinearFit *f):
    """Seconds = a_s + b_s * (exchanges in flight), at least low_s."""
    return {
        "a_s": f.a / 1e9, "b_s": f.b / 1e9, "low_s": f.low / 1e9, "samples": round(f.w, 1),
    }


cdef dict read_latency(const LatencyModel *s):
    reported = None
    if clock_monotonic_ns() < s.reported.until_ns:
        reported = {"running": s.reported.running, "waiting": s.reported.waiting,
                    "cache": s.reported.cache if s.reported.cache >= 0 else None}
    return {
        "first": read_fit(&s.first), "gap": read_fit(&s.gap), "whole": read_fit(&s.whole),
        "lost": s.failures, "told": reported,
    }


cdef dict read_pool(const Endpoint *e):
    """`idle_limit_s`: time a conn may be idle now, learned or configured; 0: any."""
    return {
        "prewarm": e.pool.warm, "warmed": e.n_warmed,
        "is_warm": bool(e.is_warm or e.pool.warm == 0),
        "backoff_s": e.warm_wait_ns / 1e9, "max_connections": e.pool.max_connections,
        "idle_limit_s": keepalive_limit(e) / 1e9, "said_idle_s": e.learned.announced_idle_ns / 1e9,
        "seen_idle_s": e.learned.observed_idle_ns / 1e9, "said_max": e.learned.announced_max,
        "closed": {name: e.n_closed[k] for k, name in enumerate(CLOSED)},
    }


cdef dict read_share(const TenantShare *s, str tenant):
    """`served`: the virtual token counter; `mean`: of the same, per exchange."""
    return {
        "tenant": tenant, "inflight": s.inflight, "queued": s.queued, "served": s.virtual_tokens,
        "mean": s.mean,
    }


cdef list read_shares(PlaneThread engine, const FairQueue *q, Names names):
    """Shares of tenants that were ever admitted, or wait."""
    cdef uint32_t k
    cdef TenantShare *shares = <TenantShare *>copy_rows(
        engine, q.shares, q.n_shares, sizeof(TenantShare)
    )
    found = [read_share(&q.common, "")]
    for k in range(1, q.n_shares):
        if shares[k].mean or shares[k].inflight or shares[k].queued:
            found.append(read_share(&shares[k], names.tenant(k)))
    free(shares)
    return found


cdef list read_endpoints(PlaneThread engine, const Upstream *u, list urls):
    cdef Endpoint[SLICE] some
    cdef uint32_t at = 0, n, i
    found = []
    while at < u.n_endpoints:
        with nogil:
            n = min(<uint32_t>SLICE, u.n_endpoints - at)
            engine.enter_plane()
            for i in range(n):
                some[i] = u.endpoints[at + i][0]
            engine.leave_plane()
        at += n
        found += [read_endpoint(&some[i], urls[some[i].index]) for i in range(n)]
    return found


cdef dict read_hold(const Upstream *u, uint64_t oldest):
    """`oldest`: when the first of the queue came."""
    cdef uint64_t now = clock_monotonic_ns()
    is_down = u.hold.since_ns != 0
    return {
        "now": u.queue.n if is_down else 0, "total": u.hold.n_held,
        "oldest_s": (now - oldest) / 1e9 if is_down and oldest else 0.0,
        "down_s": (now - u.hold.since_ns) / 1e9 if is_down else 0.0,
    }


cdef dict read_upstream(PlaneThread engine, const Upstream *from_, Names names):
    cdef Upstream copy
    cdef Upstream *u = &copy
    cdef uint64_t oldest
    with nogil:
        engine.enter_plane()
        copy = from_[0]
        oldest = fair_queue_oldest(&from_.queue)
        engine.leave_plane()
    return {
        "name": names.upstreams[u.index], "inflight": u.inflight, "queued": u.queue.n,
        "displaced": u.queue.n_displaced, "max_inflight": u.admission.max_inflight,
        "tenants": read_shares(engine, &u.queue, names),
        "waiting": u.conn_waiters.n, "waited": u.n_waited, "holding": read_hold(u, oldest),
        "caller_retries": u.queue.departures.n_again, "too_late": u.queue.departures.n_too_late,
        "hedges": u.n_hedges, "hedges_won": u.n_hedges_won,
        "histograms": {
            "ttft": read_histogram(&u.ttft), "request": read_histogram(&u.request),
            "queue_wait": read_histogram(&u.queue_wait), "gap": read_histogram(&u.gap),
            "overhead": read_histogram(&u.overhead),
        },
        "endpoints": read_endpoints(engine, u, names.endpoints),
    }


cdef list read_requests(PlaneThread engine, const Stats *stats, Names names):
    cdef uint32_t i
    cdef Series *s
    cdef const SeriesTable *t = &stats.series
    cdef Series *table = <Series *>copy_rows(engine, t.at, t.mask + 1, sizeof(Series))
    found = []
    for i in range(t.mask + 1):
        s = &table[i]
        if s.count:
            found.append({
                "upstream": names.upstream(s.upstream),
                "endpoint": names.endpoint(s.endpoint),
                "status": s.status, "outcome": outcome_label(s.blame, s.phase, s.cause),
                "count": s.count,
            })
    free(table)
    if stats.n_other_series:
        found.append({"upstream": "other", "endpoint": "other", "status": 0, "outcome": "other",
                      "count": stats.n_other_series})
    return found


cdef dict read_sums(const TokenSums *s, str upstream, str model, str tenant):
    return {
        "upstream": upstream, "model": model, "tenant": tenant, "prompt": s.prompt,
        "completion": s.completion, "cached": s.cached, "reasoning": s.reasoning,
    }


cdef list read_tokens(PlaneThread engine, const Stats *stats, Names names):
    """Tokens of a tenant beyond the rows of its models are those of the model "other"."""
    cdef uint32_t i, n = stats.tokens.n
    cdef TokenSeries *t = <TokenSeries *>copy_rows(
        engine, stats.tokens.rows, n, sizeof(TokenSeries)
    )
    found = [
        read_sums(&t[i].sums, names.upstream(t[i].upstream),
                  t[i].model[:t[i].model_len].decode("utf-8", "replace"),
                  names.tenant(t[i].tenant))
        for i in range(n)
    ]
    free(t)
    return found + read_tenant_totals(engine, &stats.tokens, names)


cdef list read_tenant_totals(PlaneThread engine, const TokenTable *table, Names names):
    cdef uint32_t i, n = table.n_tenants
    cdef TenantTotals *t = <TenantTotals *>copy_rows(
        engine, table.tenants, n, sizeof(TenantTotals)
    )
    found = [
        read_sums(&t[i].sums, "other", "other", names.tenant(i))
        for i in range(n) if t[i].sums.prompt or t[i].sums.completion
    ]
    free(t)
    return found


cdef struct Leaving:
    uint32_t index
    uint32_t inflight


cdef struct Slots:          # of endpoints: sums, and removed ones with exchanges
    int64_t idle
    int64_t idle_tls
    uint32_t n
    Leaving[SLOTS] leaving


cdef void look_at_slots(const Plane *p, uint32_t first, Slots *s) noexcept nogil:
    cdef uint32_t i
    cdef const Endpoint *e
    s.n = 0
    for i in range(first, min(first + SLOTS, p.n_endpoints)):
        e = p.endpoints[i]
        s.idle += e.idle.n
        s.idle_tls += e.idle.n if e.tls_name[0] else 0
        if e.removed and e.inflight:
            s.leaving[s.n].index = i
            s.leaving[s.n].inflight = e.inflight
            s.n += 1


cdef list read_slots(PlaneThread engine, Slots *s, list urls):
    """Endpoints that were removed and still have exchanges to finish; sums in `s`."""
    cdef Plane *p = engine.p
    cdef uint32_t at = 0, i
    found = []
    s.idle = s.idle_tls = 0
    while at < p.n_endpoints:
        with nogil:
            engine.enter_plane()
            look_at_slots(p, at, s)
            engine.leave_plane()
        at += SLOTS
        found += [{"url": urls[s.leaving[i].index], "inflight": s.leaving[i].inflight}
                  for i in range(s.n)]
    return found


cdef struct Gauges:
    Counters counters
    TlsCounters tls
    uint64_t[PROXY_FAULT_COUNT] proxy
    uint64_t block_bytes
    uint64_t stale
    uint32_t n_watches
    uint32_t n_timers
    uint32_t n_listeners
    uint32_t limit


cdef Gauges gauges_of(PlaneThread engine) noexcept nogil:
    cdef const Plane *p = engine.p
    cdef Gauges g
    engine.enter_plane()
    g.counters = p.counters
    g.tls = p.tls_counters
    memcpy(g.proxy, p.n_proxy_refused, sizeof(g.proxy))
    g.block_bytes = p.blocks.bytes_out
    g.stale = p.reactor.stale
    g.n_watches = p.reactor.n_used
    g.n_timers = p.wheel.n_armed
    g.n_listeners = p.n_listeners
    g.limit = p.limits.connections
    engine.leave_plane()
    return g


cdef dict read_plane(PlaneThread engine, const Stats *stats, Names names):
    """Each table takes the plane lock for itself, slice by slice."""
    cdef Plane *p = engine.p
    cdef Gauges g
    cdef Slots slots
    cdef uint32_t i
    with nogil:
        g = gauges_of(engine)
    leaving = read_slots(engine, &slots, names.endpoints)
    return {
        "connections": {
            "downstream": g.counters.relays, "idle": slots.idle, "accepted": g.counters.accepted,
            "refused": g.counters.refused, "starved": g.counters.starved, "limit": g.limit,
        },
        "proxy_protocol": {name: g.proxy[k] for k, name in enumerate(PROXY_FAULTS) if k},
        "fds": {"downstream": g.counters.relays, "upstream": g.counters.upstream_conns,
                "listener": g.n_listeners},
        "upstreams": [read_upstream(engine, p.upstreams[i], names) for i in range(p.n_upstreams)],
        "tls": read_tls(&g.tls),
        "keepalive": {"comments": g.counters.comments, "early_heads": g.counters.early_heads},
        "leaving": leaving,
        "requests": read_requests(engine, stats, names),
        "tokens": read_tokens(engine, stats, names),
        "counters": {
            "relays": g.counters.relays, "upstream_conns": g.counters.upstream_conns - slots.idle,
            "permits": g.counters.permits, "block_bytes": g.block_bytes,
            "watches": g.n_watches, "timers": g.n_timers,
            "exchanges": g.counters.exchanges, "stale_reports": g.stale,
            "bugs": g.counters.bugs, "tls": g.tls.open - slots.idle_tls,
        },
        "bounds_ns": [histogram_bound(k) for k in range(BUCKETS - 1)],
    }
