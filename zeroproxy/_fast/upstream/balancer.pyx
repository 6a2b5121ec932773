"""Choice of an endpoint for an attempt. The candidates are in rotation, and their breakers admit
attempts; the upstream's policy chooses among them (docs/balance.md). O(n), n <= 64 endpoints.

Law 1. Every policy chooses among the same: no policy decides which endpoints are eligible.
Law 2. consistent_hash: each endpoint draws a number from its own hash and the key, and the highest
       wins. So a key moves only if its endpoint goes, or one comes that draws higher. No endpoint
       gets more than its fair share times `bound`. So a caller that makes keys up can choose where
       its requests go, but not how many go there.
Law 3. fastest: a choice is judged by the work of all endpoints together, not by the time of this
       request alone. The next request waits too.
Tests: tests/unit/test_balance.py.
"""

from libc.math cimport log
from libc.stdint cimport int64_t, uint32_t, uint64_t

from zeroproxy._fast.types.affinity_and_latency cimport (
    BALANCE_CONSISTENT_HASH,
    BALANCE_FASTEST,
    BALANCE_POWER_OF_TWO,
    BALANCE_ROUND_ROBIN,
    LatencyModel,
)
from zeroproxy._fast.types.plane cimport Endpoint, Upstream
from zeroproxy._fast.upstream.breaker cimport breaker_admits, slow_start_admits, slow_start_share
from zeroproxy._fast.upstream.latency_model cimport (
    latency_estimate,
    latency_is_due,
    latency_is_known,
    latency_load,
)


cdef extern from "hash.h" nogil:
    uint64_t zp_mix(uint64_t a, uint64_t b)

cdef enum:
    SATURATED = 64          # fastest: most that a server without gain costs more


# ---------------------------------------------------------------- eligible endpoints


cdef struct Choice:         # conditions of one choice
    const Endpoint *avoid   # the one that just failed, or starts slowly; NULL: none
    bint takes_busy         # also those that answered 429 or 503 a moment ago
    uint64_t key            # consistent_hash; 0: the request has none
    uint64_t now_ns


cdef bint is_full(const Endpoint *e) noexcept nogil:
    """At its limit, or at its cap with every conn busy."""
    if e.limit.now != 0 and e.inflight >= e.limit.now:
        return 1
    return e.pool.max_connections != 0 and e.idle.n == 0 and e.n_conns >= e.pool.max_connections


cdef inline bint is_in_rotation(const Endpoint *e, uint64_t now) noexcept nogil:
    return e.in_rotation and not e.draining and breaker_admits(&e.breaker, &e.upstream.breaker, now)


cdef bint is_eligible(const Endpoint *e, const Choice *c) noexcept nogil:
    return (
        is_in_rotation(e, c.now_ns) and not is_full(e) and e != c.avoid
        and (c.takes_busy or c.now_ns >= e.deprioritized_until_ns)
    )


cdef bint upstream_is_full(const Upstream *u, uint64_t now) noexcept nogil:
    """True if upstream_pick finds none because an endpoint in rotation is at its cap. One whose
    breaker is open is not worth a wait."""
    cdef const Endpoint *e
    cdef uint32_t i
    for i in range(u.n_endpoints):
        e = u.endpoints[i]
        if is_in_rotation(e, now) and is_full(e):
            return 1
    return 0


# ---------------------------------------------------------------- counting


cdef int64_t upstream_free_permits(const Upstream *u, uint64_t now, int64_t *total) noexcept nogil:
    """Exchanges that its endpoints in rotation may still take, where each has a limit. `total`:
    with those in flight."""
    cdef const Endpoint *e
    cdef int64_t free = 0
    cdef uint32_t i
    total[0] = 0
    for i in range(u.n_endpoints):
        e = u.endpoints[i]
        if is_in_rotation(e, now):
            total[0] += e.limit.now
            if e.inflight < e.limit.now:
                free += e.limit.now - e.inflight
    return free


cdef inline uint64_t capacity(const Endpoint *e, const Choice *c) noexcept nogil:
    return e.weight * slow_start_share(e, c.now_ns)


cdef Endpoint *pick_least_inflight(Upstream *u, const Choice *c) noexcept nogil:
    """Fewest exchanges in flight per weight; ties go round robin."""
    cdef Endpoint *best = NULL
    cdef Endpoint *e
    cdef uint32_t i
    for i in range(u.n_endpoints):
        e = u.endpoints[(u.cursor + i) % u.n_endpoints]
        if not is_eligible(e, c):
            continue
        if best == NULL or e.inflight * capacity(best, c) < best.inflight * capacity(e, c):
            best = e
    u.cursor += 1
    return best


cdef Endpoint *pick_round_robin(Upstream *u, const Choice *c) noexcept nogil:
    """Give each endpoint `weight` requests in a row."""
    cdef uint32_t total = 0, place, i
    cdef Endpoint *e
    for i in range(u.n_endpoints):
        e = u.endpoints[i]
        if is_eligible(e, c):
            total += e.weight
    if total == 0:
        return NULL
    place = u.cursor % total
    u.cursor += 1
    for i in range(u.n_endpoints):
        e = u.endpoints[i]
        if not is_eligible(e, c):
            continue
        if place < e.weight:
            return e
        place -= e.weight
    return NULL


cdef uint32_t below(Upstream *u, uint32_t n) noexcept nogil:
    """A random number below n (xorshift64*): to spread load, not to keep a secret."""
    u.chance ^= u.chance >> 12
    u.chance ^= u.chance << 25
    u.chance ^= u.chance >> 27
    return <uint32_t>(((u.chance * <uint64_t>2685821657736338717) >> 32) * n >> 32)


cdef Endpoint *nth_eligible(Upstream *u, const Choice *c, uint32_t n) noexcept nogil:
    cdef uint32_t i
    for i in range(u.n_endpoints):
        if is_eligible(u.endpoints[i], c):
            if n == 0:
                return u.endpoints[i]
            n -= 1
    return NULL


cdef Endpoint *pick_power_of_two(Upstream *u, const Choice *c) noexcept nogil:
    """Of two at random the one with fewer exchanges in flight per weight."""
    cdef uint32_t n = 0, first, second, i
    cdef Endpoint *one
    cdef Endpoint *other
    for i in range(u.n_endpoints):
        n += is_eligible(u.endpoints[i], c)
    if n < 2:
        return nth_eligible(u, c, 0)
    first = below(u, n)
    second = below(u, n - 1)
    second += second >= first
    one = nth_eligible(u, c, first)
    other = nth_eligible(u, c, second)
    return other if other.inflight * capacity(one, c) < one.inflight * capacity(other, c) else one


# ---------------------------------------------------------------- by key


cdef inline double draw(const Endpoint *e, uint64_t key) noexcept nogil:
    """An endpoint's number for a key, between 0 and 1."""
    cdef uint64_t h = key ^ e.hash
    h = zp_mix(h ^ <uint64_t>0xa0761d6478bd642f, h ^ <uint64_t>0xe7037ed1a0b428db)
    h = (h ^ (h >> 32)) * <uint64_t>0xd6e8feb86659fd93
    h ^= h >> 32
    return (<double>(h >> 12) + 0.5) / <double>(<uint64_t>1 << 52)


cdef Endpoint *pick_by_key(Upstream *u, const Choice *c) noexcept nogil:
    """The lowest of exponential draws at a rate of the weight. That is the highest draw where
    weights are equal; where they are not, choices are in proportion to them."""
    cdef Endpoint *best = NULL
    cdef Endpoint *e
    cdef double whole = 0, least = 0, here, room = 1
    cdef uint32_t i
    if c.key == 0:
        return pick_least_inflight(u, c)
    for i in range(u.n_endpoints):
        if is_eligible(u.endpoints[i], c):
            whole += <double>capacity(u.endpoints[i], c)
            room += u.endpoints[i].inflight
    # All exchanges in flight and this one, times the bound: shared by weight.
    room = room * u.hash.bound / whole if whole > 0 else 0
    for i in range(u.n_endpoints):
        e = u.endpoints[i]
        if not is_eligible(e, c) or e.inflight >= room * capacity(e, c):
            continue
        here = -log(draw(e, c.key)) / capacity(e, c)
        if best == NULL or here < least:
            best = e
            least = here
    return best


# ---------------------------------------------------------------- by latency


cdef const Endpoint *quickest(const Upstream *u, const Choice *c) noexcept nogil:
    """The endpoint with samples that is quickest alone; NULL: none has samples."""
    cdef const Endpoint *best = NULL
    cdef const Endpoint *e
    cdef double here, least = 0
    cdef uint32_t i
    for i in range(u.n_endpoints):
        e = u.endpoints[i]
        if not is_eligible(e, c) or not latency_is_known(e):
            continue
        here = latency_estimate(&e.latency, &u.response_length, 1)
        if best == NULL or here < least:
            best = e
            least = here
    return best


cdef double cost(const Endpoint *e, const LatencyModel *latency, const Choice *c) noexcept nogil:
    """The inverse of the gain: exchanges that the endpoint would get done more per ns with one more
    in flight. By Little's law it does q / time(q) with q in flight. Idle, the cost is the time of
    one. Where one more only slows all others down the cost is a large multiple of that, and the
    times decide. `latency`: its own model, or one to stand for it."""
    cdef double q = latency_load(e, c.now_ns)
    cdef double now = latency_estimate(latency, &e.upstream.response_length, q)
    cdef double then = latency_estimate(latency, &e.upstream.response_length, q + 1)
    cdef double gain = (q + 1) * now - q * then
    if gain < then / SATURATED:
        gain = then / SATURATED
    return now * then / gain * <double>(<uint64_t>1 << e.latency.failures) / capacity(e, c)


cdef Endpoint *pick_fastest(Upstream *u, const Choice *c) noexcept nogil:
    """Endpoints without samples are taken to be as quick as the quickest, and tried first."""
    cdef const Endpoint *like = NULL
    cdef Endpoint *best = NULL
    cdef Endpoint *e
    cdef double here, least = 0
    cdef uint32_t i
    for i in range(u.n_endpoints):
        e = u.endpoints[(u.cursor + i) % u.n_endpoints]
        if not is_eligible(e, c):
            continue
        if like == NULL and not latency_is_known(e):
            like = quickest(u, c)
            if like == NULL:
                return pick_least_inflight(u, c)
        if latency_is_due(e, c.now_ns):
            best = e
            break
        here = cost(e, &e.latency, c) if latency_is_known(e) else cost(e, &like.latency, c)
        if best == NULL or here < least:
            best = e
            least = here
    u.cursor += 1
    return best


# ---------------------------------------------------------------- the choice


cdef Endpoint *pick(Upstream *u, const Choice *c) noexcept nogil:
    if u.balance == BALANCE_ROUND_ROBIN:
        return pick_round_robin(u, c)
    if u.balance == BALANCE_POWER_OF_TWO:
        return pick_power_of_two(u, c)
    if u.balance == BALANCE_CONSISTENT_HASH:
        return pick_by_key(u, c)
    if u.balance == BALANCE_FASTEST:
        return pick_fastest(u, c)
    return pick_least_inflight(u, c)


cdef bint is_admitted(Endpoint *e, const Choice *c) noexcept nogil:
    """While an endpoint starts slowly, most of its requests go to others. Not those with a key:
    their draws already go by the share."""
    if e.slow_start_ns == 0 or (e.upstream.balance == BALANCE_CONSISTENT_HASH and c.key):
        return 1
    return slow_start_admits(e, c.now_ns)


cdef Endpoint *upstream_pick(
    Upstream *u, const Endpoint *avoid, uint64_t key, uint64_t now,
) noexcept nogil:
    """An endpoint in rotation that is not busy, other than `avoid` (the one that just failed). If
    there is none, a busy one, or `avoid`. NULL: none in rotation, or all at their caps."""
    cdef Choice c
    cdef Endpoint *e
    cdef Endpoint *other
    c.avoid = avoid
    c.takes_busy = 0
    c.key = key
    c.now_ns = now
    e = pick(u, &c)
    if e == NULL:
        c.takes_busy = 1
        e = pick(u, &c)
    if avoid != NULL:
        c.avoid = NULL
        return e if e != NULL else pick(u, &c)
    if e == NULL or is_admitted(e, &c):
        return e
    c.avoid = e
    other = pick(u, &c)
    return other if other != NULL else e
