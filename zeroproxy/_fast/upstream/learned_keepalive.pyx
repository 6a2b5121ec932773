"""Idle time and requests that an endpoint grants a conn: announced by it, or observed.

Law 1. `pool.idle_timeout` is the most; learned limits only shorten it. 60 % of an announced or
       observed time leaves the way there and back, and a clock that ticks coarsely.
Law 2. Observed limits are doubted slowly: one step up per RAISE_NS, until they are forgotten. A
       limit below LEAST_NS is never concluded: a server that restarts closes conns of any age.
Law 3. `max` is read as "closed after this many", the strictest of its meanings. Where it counts
       down (Apache httpd) a conn is given up at half its life.
Tests: tests/relay/test_pools.py.
"""

from libc.stdint cimport uint32_t, uint64_t

from zeroproxy._fast.http1.field_ids_and_values cimport read_number
from zeroproxy._fast.http1.field_lines cimport has_field
from zeroproxy._fast.http1.grammar cimport Cursor, is_word, next_element
from zeroproxy._fast.types.clock cimport NS_PER_MS, NS_PER_S
from zeroproxy._fast.types.http cimport FIELD_KEEP_ALIVE, Field, Head, Span
from zeroproxy._fast.types.plane cimport Conn, Endpoint

cdef uint64_t LEAST_NS = 500 * <uint64_t>NS_PER_MS
cdef uint64_t RAISE_NS = 60 * <uint64_t>NS_PER_S

cdef enum:
    ANNOUNCED_MAX = 1000000      # seconds, requests: more is as good as no limit


cdef inline uint64_t shorter(uint64_t a, uint64_t b) noexcept nogil:
    return b if a == 0 or (b and b < a) else a


cdef uint64_t number_behind(Span s, const char *name, size_t n) noexcept nogil:
    """The value of `name=NUMBER` plus one; 0: it is something else."""
    cdef uint64_t value = 0
    if s.len <= n or not is_word(<Cursor>s.at, n, name, n):
        return 0
    if not read_number(<Cursor>s.at + n, s.len - n, &value):
        return 0
    return (value if value < ANNOUNCED_MAX else <uint64_t>ANNOUNCED_MAX) + 1


cdef void keepalive_observe(Endpoint *e, const Head *h) noexcept nogil:
    """Learn from a response's `Keep-Alive: timeout=N, max=M`; without it nothing changes."""
    cdef const Field *f
    cdef Cursor at
    cdef Cursor end
    cdef Span part
    cdef uint64_t n
    cdef int i
    if not e.pool.learns or not has_field(h, FIELD_KEEP_ALIVE):
        return
    for i in range(h.n_fields):
        f = &h.fields[i]
        if f.id != FIELD_KEEP_ALIVE:
            continue
        at = <Cursor>h.base + f.value_at
        end = at + f.value_len
        while next_element(&at, end, &part):
            n = number_behind(part, b"timeout=", 8)
            if n:
                # timeout=0: no conn may be idle.
                e.learned.announced_idle_ns = (n - 1) * <uint64_t>NS_PER_S // 10 * 6 + (n == 1)
            n = number_behind(part, b"max=", 4)
            if n:
                e.learned.announced_max = <uint32_t>(n - 1) if n > 1 else 1


cdef uint64_t keepalive_limit(const Endpoint *e) noexcept nogil:
    """Time that a conn may be idle, in ns; 0: for ever."""
    if not e.pool.learns:
        return e.pool.idle_ns
    return shorter(shorter(e.pool.idle_ns, e.learned.announced_idle_ns), e.learned.observed_idle_ns)


cdef bint keepalive_is_spent(const Endpoint *e, const Conn *c, uint64_t now_ns) noexcept nogil:
    """True if it is too old, or its next request might be the one it closes on."""
    if e.pool.max_age_ns and now_ns - c.opened_ns >= e.pool.max_age_ns:
        return 1
    if e.pool.max_requests and c.served >= e.pool.max_requests:
        return 1
    if not e.pool.learns or e.learned.announced_max == 0:
        return 0
    return c.served != 0 and c.served + 1 >= e.learned.announced_max


cdef void keepalive_lower(Endpoint *e, const Conn *c, uint64_t now_ns) noexcept nogil:
    """Learn that the endpoint closed a conn, idle since c.since_ns."""
    cdef uint64_t limit = (now_ns - c.since_ns) // 10 * 6
    if limit < LEAST_NS:
        limit = LEAST_NS
    e.learned.observed_idle_ns = shorter(e.learned.observed_idle_ns, limit)
    e.learned.seen_ns = now_ns


cdef void keepalive_raise(Endpoint *e, uint64_t now_ns) noexcept nogil:
    """Go a step up if nothing was closed for long; a limit without effect is forgotten."""
    if e.learned.observed_idle_ns == 0 or now_ns - e.learned.seen_ns < RAISE_NS:
        return
    e.learned.seen_ns = now_ns
    e.learned.observed_idle_ns += e.learned.observed_idle_ns // 8
    if e.pool.idle_ns and e.learned.observed_idle_ns >= e.pool.idle_ns:
        e.learned.observed_idle_ns = 0


cdef void keepalive_forget(Endpoint *e) noexcept nogil:
    e.learned.announced_idle_ns = e.learned.observed_idle_ns = 0
    e.learned.announced_max = 0
