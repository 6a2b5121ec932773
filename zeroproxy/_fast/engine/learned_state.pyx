"""Facts about endpoints that were learned, for a process that goes on where this one was.

Note. Windows of breakers and latency models stay behind. They are of the last seconds or minutes
      and are found again within some tens of requests.
Tests: tests/relay/test_learned.py.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from zeroproxy._fast.engine.change_steps cimport make
from zeroproxy._fast.engine.names cimport Names
from zeroproxy._fast.engine.thread cimport PlaneThread
from zeroproxy._fast.engine.values cimport demand_type, flag, ns, number, whole
from zeroproxy._fast.exchange.permits cimport admit_waiting
from zeroproxy._fast.types.breaker cimport Breaker
from zeroproxy._fast.types.change cimport Step
from zeroproxy._fast.types.conn_pool cimport LearnedKeepAlive
from zeroproxy._fast.types.plane cimport Endpoint, Plane
from zeroproxy._fast.upstream.breaker cimport BREAKER_CLOSED, BREAKER_OPEN, breaker_restore
from zeroproxy._fast.upstream.concurrency_limit cimport limit_learned, limit_restore

from zeroproxy._fast.engine.settings_types import Learned

cdef enum:
    SLICE = 32              # endpoints read under the plane lock at once
    COUNT_MOST = 1 << 30

# ---------------------------------------------------------------- reading


cdef struct Sample:
    uint32_t index
    uint32_t upstream
    double limit
    Breaker breaker
    LearnedKeepAlive keepalive


cdef uint32_t read_some(const Plane *p, uint32_t *at, Sample *out) noexcept nogil:
    """Up to SLICE slots from `at` on; `at` moves on."""
    cdef uint32_t n = 0, end = min(at[0] + SLICE, p.n_endpoints)
    cdef const Endpoint *e
    while at[0] < end:
        e = p.endpoints[at[0]]
        at[0] += 1
        if e.removed:
            continue
        out[n].index = e.index
        out[n].upstream = e.upstream.index
        out[n].limit = limit_learned(e)
        out[n].breaker = e.breaker
        out[n].keepalive = e.learned
        n += 1
    return n


cdef dict read_sample(const Sample *s, uint64_t now, Names names):
    cdef const Breaker *b = &s.breaker
    cdef bint waits = b.state == BREAKER_OPEN and b.due_ns > now
    return {
        "upstream": names.upstreams[s.upstream], "url": names.endpoints[s.index],
        "limit": s.limit, "is_open": b.state != BREAKER_CLOSED,
        "due_s": (b.due_ns - now) / 1e9 if waits else 0.0,
        "trips": b.n_trips, "in_a_row": b.in_a_row, "is_unconfirmed": bool(b.is_unconfirmed),
        "said_idle_s": s.keepalive.announced_idle_ns / 1e9,
        "seen_idle_s": s.keepalive.observed_idle_ns / 1e9,
        "said_max": s.keepalive.announced_max,
    }


cdef list read_learned(PlaneThread engine, Names names):
    cdef Sample[SLICE] some
    cdef Plane *p = engine.p
    cdef uint32_t at = 0, n, i
    cdef uint64_t now
    found = []
    while at < p.n_endpoints:
        with nogil:
            engine.enter_plane()
            n = read_some(p, &at, some)
            now = p.now_ns
            engine.leave_plane()
        found += [read_sample(&some[i], now, names) for i in range(n)]
    return found


# ---------------------------------------------------------------- going on

cdef struct LearnedChange:
    Endpoint *e
    double limit
    Breaker breaker
    uint64_t due_ns         # from the moment that it is applied
    LearnedKeepAlive keepalive


cdef void apply_learned(Plane *p, void *what) noexcept nogil:
    cdef LearnedChange *t = <LearnedChange *>what
    cdef Endpoint *e = t.e
    if e.removed:
        return
    limit_restore(e, t.limit)
    t.breaker.due_ns = p.now_ns + t.due_ns
    breaker_restore(&e.breaker, &e.upstream.breaker, &t.breaker)
    p.breaker_changed = 1
    if e.learned.seen_ns == 0 and e.learned.announced_idle_ns == 0:
        t.keepalive.seen_ns = p.now_ns
        e.learned = t.keepalive
    admit_waiting(p, e.upstream)


cdef int stage_learned(Step *s, Endpoint *e, learned) except -1:
    cdef LearnedChange *t = <LearnedChange *>make(s, sizeof(LearnedChange))
    demand_type(learned, "learned", Learned)
    t.e = e
    t.limit = number(learned.limit, "learned.limit", 0, COUNT_MOST)
    t.breaker.state = <uint8_t>(
        BREAKER_OPEN if flag(learned.is_open, "learned.is_open") else BREAKER_CLOSED
    )
    t.due_ns = ns(learned.due_s, "learned.due_s")
    t.breaker.n_trips = whole(learned.trips, "learned.trips", 0, COUNT_MOST)
    t.breaker.in_a_row = whole(learned.in_a_row, "learned.in_a_row", 0, COUNT_MOST)
    t.breaker.is_unconfirmed = flag(learned.is_unconfirmed, "learned.is_unconfirmed")
    t.keepalive.announced_idle_ns = ns(learned.said_idle_s, "learned.said_idle_s")
    t.keepalive.observed_idle_ns = ns(learned.seen_idle_s, "learned.seen_idle_s")
    t.keepalive.announced_max = whole(learned.said_max, "learned.said_max", 0, COUNT_MOST)
    s.apply = apply_learned
    return 0
