"""The plane as plain Python values: dicts, lists, ints. Runs per scrape, never per request.

Law. `names` is (upstreams, endpoints, tenants), each a list by index that only ever grows and is
     longer than any index in a record: the flusher's thread reads it while a door appends.
"""

from libc.stdint cimport uint32_t, uint64_t

from zeroproxy._fast.admission_types cimport Share
from zeroproxy._fast.balance_types cimport BALANCE_FASTEST, Fit, Pace
from zeroproxy._fast.breaker_types cimport Breaker
from zeroproxy._fast.clock cimport clock_monotonic_ns
from zeroproxy._fast.keepalive cimport keepalive_limit
from zeroproxy._fast.outcome cimport exactness_name
from zeroproxy._fast.plane cimport Endpoint, Histogram, Plane, Queue, Record, Relay, Upstream
from zeroproxy._fast.pool_types cimport CLOSED_COUNT
from zeroproxy._fast.stats cimport (
    ALL_OTHERS,
    BUCKETS,
    SERIES_SIZE,
    SPILL_NAMED,
    Series,
    Spill,
    Stats,
    TokenSeries,
    histogram_bound,
    stats_read_spill,
    stats_spills,
)
from zeroproxy._fast.tls_setup cimport read_note, read_tls
from zeroproxy._fast.types cimport PHASE_RELAYING, PHASE_WAITING

from zeroproxy._fast.outcome import outcome_label

FINISHES = ("", "done", "error", "cut")
USAGE_BY = ("", "caller", "proxy", "refused", "unasked")
BREAKER_STATES = ("closed", "half_open", "open")
#: In the order of pool_types.Closed.
CLOSED = ("endpoint", "idle", "age", "surplus", "exchange")
METHODS = ("OTHER", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")


cdef dict read_histogram(const Histogram *h):
    return {"counts": [h.counts[i] for i in range(BUCKETS)], "sum_ns": h.sum_ns, "n": h.n}


cdef dict read_breaker(const Breaker *b):
    return {
        "state": BREAKER_STATES[b.state], "in_a_row": b.in_a_row, "trips": b.n_trips,
        "to": {name: b.moves[k] for k, name in enumerate(BREAKER_STATES)},
    }


cdef bint is_owed(const Relay *r, const Endpoint *e) noexcept nogil:
    """It is the endpoint's turn to speak: the request is sent, and the caller takes the answer."""
    return (
        r.live and r.on_endpoint and r.endpoint == e and r.ask.done and not r.up_paused
        and (r.phase == PHASE_WAITING or r.phase == PHASE_RELAYING)
    )


cdef dict read_vitals(const Plane *p, const Endpoint *e, uint64_t now, uint64_t after):
    """What health looks at. `quiet_s`: for so long no body byte has come although one was owed.
    Relays are walked, which costs a cache miss each, only after a silence of `after` ns."""
    cdef uint64_t since = now, asked
    cdef uint32_t i, owed = 0, begun = 0
    cdef uint32_t n = p.n_relays if e.inflight and now - e.last_heard_ns >= after else 0
    cdef const Relay *r
    for i in range(n):
        r = p.relays[i]
        if is_owed(r, e):
            owed += 1
            begun += r.is_streamed and r.first_ns != 0
            asked = max(r.asked_ns, r.sent_ns)
            since = min(since, asked)
    since = max(since, e.last_heard_ns)
    return {
        "index": e.index, "inflight": e.inflight, "owed": owed, "begun": begun,
        "quiet_s": (now - since) / 1e9 if owed and now > since else 0.0,
        "heard_s": e.last_heard_ns / 1e9, "draining": bool(e.draining),
        "breaker": read_breaker(&e.breaker),
        "due_s": (e.breaker.due_ns - now) / 1e9 if e.breaker.due_ns > now else 0.0,
    }


cdef dict read_endpoint(const Endpoint *e, str url):
    return {
        "index": e.index, "url": url, "up": bool(e.up), "draining": bool(e.draining),
        "weight": e.weight, "inflight": e.inflight, "limit": e.limit.now,
        "limit_cuts": e.limit.n_cuts, "idle": e.idle.n, "opening": e.opening.n,
        "connects": e.n_connects, "connect_failures": e.n_connect_failures,
        "reused": e.n_reused, "stale": e.n_stale, "failures": e.n_failures,
        "busy": e.n_busy, "breaker": read_breaker(&e.breaker),
        "connections": e.n_conns, "stale_retries": e.n_stale_retries,
        "unframed": e.n_unframed, "pool": read_pool(e),
        "tls": read_note(&e.tls_note),
        "pace": read_pace(&e.pace) if e.upstream.balance == BALANCE_FASTEST else None,
    }


cdef dict read_fit(const Fit *f):
    """Seconds = a_s + b_s * (exchanges in flight), at least low_s."""
    return {
        "a_s": f.a / 1e9, "b_s": f.b / 1e9, "low_s": f.low / 1e9, "samples": round(f.w, 1),
    }


cdef dict read_pace(const Pace *s):
    told = None
    if clock_monotonic_ns() < s.told.until_ns:
        told = {"running": s.told.running, "waiting": s.told.waiting,
                "cache": s.told.cache if s.told.cache >= 0 else None}
    return {
        "first": read_fit(&s.first), "gap": read_fit(&s.gap), "whole": read_fit(&s.whole),
        "lost": s.lost, "told": told,
    }


cdef dict read_pool(const Endpoint *e):
    """`idle_limit_s`: how long a conn may rest now, learned or configured; 0: for ever."""
    return {
        "prewarm": e.pool.warm, "warmed": e.n_warmed,
        "is_warm": bool(e.is_warm or e.pool.warm == 0),
        "backoff_s": e.warm_wait_ns / 1e9, "max_connections": e.pool.max_connections,
        "idle_limit_s": keepalive_limit(e) / 1e9, "said_idle_s": e.learned.said_idle_ns / 1e9,
        "seen_idle_s": e.learned.seen_idle_ns / 1e9, "said_max": e.learned.said_max,
        "closed": {CLOSED[k]: e.n_closed[k] for k in range(<int>CLOSED_COUNT)},
    }


cdef dict read_share(const Share *s, str tenant):
    """`served`: its virtual token counter; `mean`: of the same, per exchange."""
    return {"tenant": tenant, "inflight": s.inflight, "queued": s.queued, "served": s.served,
            "mean": s.mean}


cdef list read_shares(const Queue *q, tuple names):
    """Of those that have ever been let in, or wait."""
    cdef uint32_t k
    found = [read_share(&q.common, "")]
    for k in range(1, q.n_shares):
        if q.shares[k].mean or q.shares[k].inflight or q.shares[k].queued:
            found.append(read_share(&q.shares[k], tenant_name(k, names)))
    return found


cdef dict read_upstream(const Upstream *u, tuple names):
    cdef list urls = names[1]
    return {
        "name": names[0][u.index], "inflight": u.inflight, "queued": u.queue.n,
        "displaced": u.queue.n_displaced, "max_inflight": u.admission.max_inflight,
        "tenants": read_shares(&u.queue, names),
        "waiting": u.waiting.n, "waited": u.n_waited,
        "hedges": u.n_hedges, "hedges_won": u.n_hedges_won,
        "histograms": {
            "ttft": read_histogram(&u.ttft), "request": read_histogram(&u.request),
            "queue_wait": read_histogram(&u.queue_wait), "gap": read_histogram(&u.gap),
            "overhead": read_histogram(&u.overhead),
        },
        "endpoints": [read_endpoint(u.endpoints[i], urls[u.endpoints[i].index])
                      for i in range(u.n_endpoints)],
    }


cdef str upstream_name(int index, tuple names):
    return names[0][index] if index < len(names[0]) else ""


cdef str endpoint_url(int index, tuple names):
    return names[1][index] if index < len(names[1]) else ""


cdef str tenant_name(int index, tuple names):
    return names[2][index] if index < len(names[2]) else ""


cdef str others(tuple names):
    """The tenant of a row that stands for many."""
    return "other" if len(names[2]) > 1 else ""


cdef list read_leaving(Plane *p, list urls):
    """Endpoints that were removed and still have exchanges to finish."""
    cdef uint32_t i
    return [{"url": urls[i], "inflight": p.endpoints[i].inflight} for i in range(p.n_endpoints)
            if p.endpoints[i].removed and p.endpoints[i].inflight]


cdef list read_requests(Stats *stats, tuple names):
    cdef uint32_t i
    cdef Series *s
    found = []
    for i in range(SERIES_SIZE):
        s = &stats.series[i]
        if s.count:
            found.append({
                "upstream": upstream_name(s.upstream, names),
                "endpoint": endpoint_url(s.endpoint, names),
                "status": s.status, "outcome": outcome_label(s.blame, s.phase, s.cause),
                "count": s.count,
            })
    if stats.n_overflow:
        found.append({"upstream": "other", "endpoint": "other", "status": 0, "outcome": "other",
                      "count": stats.n_overflow})
    return found


cdef list read_tokens(Stats *stats, tuple names):
    cdef uint32_t i
    cdef TokenSeries *t
    found = []
    for i in range(stats.n_tokens):
        t = &stats.tokens[i]
        is_rest = t.upstream == ALL_OTHERS
        found.append({
            "upstream": "other" if is_rest else upstream_name(t.upstream, names),
            "model": "other" if is_rest else t.model[:t.model_len].decode("utf-8", "replace"),
            "tenant": others(names) if is_rest else tenant_name(t.tenant, names),
            "prompt": t.prompt, "completion": t.completion, "cached": t.cached,
            "reasoning": t.reasoning,
        })
    return found


cdef dict read_plane(Plane *p, Stats *stats, tuple names):
    cdef uint32_t i
    idle = idle_tls = 0
    upstream_conns = p.counters.upstream_conns
    for i in range(p.n_endpoints):
        idle += p.endpoints[i].idle.n
        idle_tls += p.endpoints[i].idle.n if p.endpoints[i].tls_name[0] else 0
    return {
        "connections": {
            "downstream": p.counters.relays, "idle": idle, "accepted": p.counters.accepted,
            "refused": p.counters.refused, "starved": p.counters.starved,
            "limit": p.limits.connections,
        },
        "fds": {"downstream": p.counters.relays, "upstream": upstream_conns,
                "listener": p.n_listeners},
        "upstreams": [read_upstream(p.upstreams[i], names) for i in range(p.n_upstreams)],
        "tls": read_tls(&p.tls_counters),
        "leaving": read_leaving(p, names[1]),
        "requests": read_requests(stats, names),
        "tokens": read_tokens(stats, names),
        "counters": {
            "relays": p.counters.relays, "upstream_conns": upstream_conns - idle,
            "permits": p.counters.permits, "block_bytes": p.blocks.bytes_out,
            "watches": p.reactor.n_used, "timers": p.wheel.n_armed,
            "exchanges": p.counters.exchanges, "stale_reports": p.reactor.stale,
            "bugs": p.counters.bugs, "tls": p.tls_counters.open - idle_tls,
        },
        "bounds_ns": [histogram_bound(k) for k in range(BUCKETS - 1)],
    }


cdef list read_spills(Stats *stats, tuple names):
    """What the ring did not take, cumulative. Any thread."""
    cdef Spill s
    found = []
    for row in range(stats_spills(stats)):
        stats_read_spill(stats, row, &s)
        found.append({
            "upstream": upstream_name(s.upstream, names),
            "endpoint": endpoint_url(s.endpoint, names),
            "model": "other" if row >= SPILL_NAMED
            else s.model[:s.model_len].decode("utf-8", "replace"),
            "tenant": others(names) if row >= SPILL_NAMED else tenant_name(s.tenant, names),
            "exactness": exactness_name(s.exactness).decode(), "count": s.count,
            "prompt_tokens": s.prompt, "completion_tokens": s.completion,
            "cached_tokens": s.cached, "reasoning_tokens": s.reasoning,
            "bytes_in": s.bytes_in, "bytes_out": s.bytes_out,
        })
    return found


cdef object known(value):
    return value if value >= 0 else None


cdef dict read_record(const Record *r, tuple names):
    return {
        "serial": r.serial, "time_ns": r.began_wall_ns, "queue_ns": r.queue_ns,
        "connect_ns": r.connect_ns, "ttft_ns": r.ttft_ns, "total_ns": r.total_ns,
        "gap_mean_ns": r.gap_mean_ns, "gap_max_ns": r.gap_max_ns,
        "streamed": bool(r.is_streamed), "finish": FINISHES[r.finish],
        "usage_by": USAGE_BY[r.usage_by], "tenant": tenant_name(r.tenant, names),
        "trace_id": r.trace[:16].hex(), "span_id": r.span[:8].hex(),
        "parent_span_id": r.parent[:8].hex() if r.has_parent else "",
        "trace_sampled": bool(r.trace_flags & 1),
        "bytes_in": r.bytes_in, "bytes_out": r.bytes_out, "events": r.n_events,
        "status": r.status, "upstream": upstream_name(r.upstream, names),
        "endpoint": endpoint_url(r.endpoint, names),
        "outcome": outcome_label(r.blame, r.phase, r.cause), "method": METHODS[r.method],
        "tried": r.tried, "exactness": exactness_name(r.exactness).decode(),
        "prompt_tokens": known(r.tokens.prompt), "completion_tokens": known(r.tokens.completion),
        "cached_tokens": known(r.tokens.cached), "reasoning_tokens": known(r.tokens.reasoning),
        "request_id": r.request_id[:r.id_len].decode("latin-1"),
        "path": r.path[:r.path_len].decode("latin-1"),
        "model": r.model[:r.model_len].decode("utf-8", "replace"),
    }
