"""Samples for health, of each endpoint in force: cheap enough for every interval."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from zeroproxy._fast.engine.thread cimport PlaneThread
from zeroproxy._fast.exchange.end_exchanges_of_dead_endpoint cimport is_owed
from zeroproxy._fast.types.breaker cimport Breaker
from zeroproxy._fast.types.plane cimport Endpoint, Plane, Relay

from zeroproxy._fast.engine.enum_names import BREAKER_STATES

cdef enum:
    SLICE = 16              # endpoints read under the plane lock at once


cdef dict read_breaker(const Breaker *b):
    return {
        "state": BREAKER_STATES[b.state], "in_a_row": b.in_a_row, "trips": b.n_trips,
        "to": {name: b.transitions[k] for k, name in enumerate(BREAKER_STATES)},
    }


cdef struct Vital:
    uint32_t index
    uint32_t inflight
    uint32_t owed           # answers
    uint32_t begun          # of them
    uint64_t quiet_ns
    uint64_t last_data_ns
    uint8_t draining
    Breaker breaker


cdef bint look(const Plane *p, const Endpoint *e, uint64_t after, Vital *v) noexcept nogil:
    """Walk the relays, a cache miss each, only after a silence of `after` ns. Returns 1 if they
    were walked."""
    cdef uint64_t since = p.now_ns, sent_ns
    cdef bint walks = e.inflight and p.now_ns - e.last_data_ns >= after
    cdef uint32_t i
    cdef const Relay *r
    v.index, v.inflight = e.index, e.inflight
    v.draining = e.draining
    v.last_data_ns = e.last_data_ns
    v.breaker = e.breaker
    v.owed = v.begun = 0
    for i in range(p.n_relays if walks else 0):
        r = p.relays[i]
        if is_owed(r, e):
            v.owed += 1
            v.begun += 1 if r.x.is_streamed and r.x.first_content_ns else 0
            sent_ns = max(r.x.request_read_ns, r.attempt.sent_ns)
            since = min(since, sent_ns)
    since = max(since, e.last_data_ns)
    v.quiet_ns = p.now_ns - since if v.owed and p.now_ns > since else 0
    return walks


cdef uint32_t look_at_some(
    const Plane *p, uint32_t *at, uint32_t end, uint64_t after, Vital *found
) noexcept nogil:
    """Sample at most SLICE endpoints in force from `at` to `end`; `at` moves on. Fewer if relays
    were walked."""
    cdef uint32_t n = 0
    cdef const Endpoint *e
    cdef bint walked = 0
    while at[0] < end and n < SLICE and not walked:
        e = p.endpoints[at[0]]
        at[0] += 1
        if not e.removed:
            walked = look(p, e, after, &found[n])
            n += 1
    return n


cdef dict read_health_sample(const Vital *v, uint64_t now):
    return {
        "index": v.index, "inflight": v.inflight, "owed": v.owed, "begun": v.begun,
        "quiet_s": v.quiet_ns / 1e9, "last_data_s": v.last_data_ns / 1e9,
        "draining": bool(v.draining), "breaker": read_breaker(&v.breaker),
        "due_s": (v.breaker.due_ns - now) / 1e9 if v.breaker.due_ns > now else 0.0,
    }


cdef list read_health_samples(PlaneThread engine, uint64_t after, only):
    """`quiet_s`: the time without a body byte although one was owed."""
    cdef Vital[SLICE] some
    cdef Plane *p = engine.p
    cdef uint32_t at = 0 if only is None else only
    cdef uint32_t end = p.n_endpoints if only is None else min(at + 1, p.n_endpoints)
    cdef uint32_t n, i
    cdef uint64_t now = 0
    found = []
    while at < end:
        with nogil:
            engine.enter_plane()
            n = look_at_some(p, &at, end, after, some)
            now = p.now_ns
            engine.leave_plane()
        found += [read_health_sample(&some[i], now) for i in range(n)]
    return found
