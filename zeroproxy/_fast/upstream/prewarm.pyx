"""Conns without an owner: the idle ones, and those opened before they are needed.

Law 1. Conns are kept warm only while the endpoint has had an exchange in the last
       `pool.prewarm_idle`: then they expire and no timer is armed. The next exchange begins it
       anew.
Law 2. An endpoint is in doubt if it does not accept, or closes a new conn at once. Then it is tried
       with one conn at a time and ever more rarely, up to LAST_WAIT_NS.
Law 3. Never more than `max_idle`, `max_connections`, or what the descriptors allow.
Tests: tests/relay/test_warm.py.
"""

from libc.stdint cimport uint32_t, uint64_t

from zeroproxy._fast.net.conn cimport CONNECT_MORE, conn_finish_connect, conn_pump_tls
from zeroproxy._fast.net.timer cimport timer_arm, timer_disarm, timer_init, timer_no_later
from zeroproxy._fast.types.clock cimport NS_PER_MS, NS_PER_S
from zeroproxy._fast.types.conn_pool cimport CLOSED_IDLE, CLOSED_SURPLUS
from zeroproxy._fast.types.exchange_enums cimport DRAIN_ENDS
from zeroproxy._fast.types.plane cimport Conn, Endpoint, Plane
from zeroproxy._fast.upstream.conn_pool cimport (
    conn_list_push,
    conn_list_remove,
    endpoint_connect,
    endpoint_forget,
    endpoint_lose_idle,
    endpoint_may_connect,
    endpoint_retire,
    endpoint_want_warm,
    release_conn,
    release_idle_conn,
)
from zeroproxy._fast.upstream.learned_keepalive cimport keepalive_limit

cdef uint64_t FIRST_WAIT_NS = 250 * <uint64_t>NS_PER_MS
cdef uint64_t LAST_WAIT_NS = 16 * <uint64_t>NS_PER_S
cdef uint64_t WORTH_NS = 100 * <uint64_t>NS_PER_MS     # no warm conns for less idle time
cdef uint64_t CONNECT_NS = 2 * <uint64_t>NS_PER_S      # where timeouts.connect is off


cdef bint is_wanted(const Plane *p, const Endpoint *e) noexcept nogil:
    cdef uint64_t limit = keepalive_limit(e)
    if not e.pool.warm or not e.in_rotation or e.draining or p.draining == DRAIN_ENDS:
        return 0
    if limit and limit < WORTH_NS:
        return 0
    return e.pool.warm_idle_ns == 0 or p.now_ns - e.used_ns < e.pool.warm_idle_ns


cdef void back_off(Plane *p, Endpoint *e) noexcept nogil:
    """Count a conn that could not be opened, or did not live. No effect while the wait runs."""
    if e.warm_wait_ns == 0 and is_wanted(p, e):
        e.warm_wait_ns = FIRST_WAIT_NS
        timer_arm(&p.wheel, &e.warm_timer, p.now_ns + FIRST_WAIT_NS)


cdef void fill(Plane *p, Endpoint *e) noexcept nogil:
    """Begin to open missing conns; one only while the endpoint is in doubt."""
    cdef uint32_t most = e.pool.warm if e.pool.warm < e.pool.max_idle else e.pool.max_idle
    cdef uint64_t patience = e.upstream.connect_ns if e.upstream.connect_ns else CONNECT_NS
    cdef Conn *c
    while e.idle.n + e.opening.n < most and endpoint_may_connect(p, e):
        c = endpoint_connect(p, e)
        if c == NULL:
            endpoint_forget(e)
            back_off(p, e)
            break
        conn_list_push(&e.opening, c)
        timer_no_later(&p.wheel, &c.timer, p.now_ns + patience)
        if e.warm_wait_ns:
            break
    if e.opening.n == 0:
        e.is_warm = 1


cdef void fill_due(void *plane, void *owner) noexcept nogil:
    cdef Plane *p = <Plane *>plane
    cdef Endpoint *e = <Endpoint *>owner
    if not is_wanted(p, e):
        e.warm_wait_ns = 0
        return
    if e.warm_wait_ns:
        e.warm_wait_ns *= 2
        if e.warm_wait_ns > LAST_WAIT_NS:
            e.warm_wait_ns = LAST_WAIT_NS
        # The conn of the last try has lived through the wait: the doubt is over.
        if e.idle.n:
            e.warm_wait_ns = 0
        else:
            timer_arm(&p.wheel, &e.warm_timer, p.now_ns + e.warm_wait_ns)
    fill(p, e)


cdef void prewarm_init(Endpoint *e) noexcept nogil:
    timer_init(&e.warm_timer, fill_due, e)


cdef void prewarm_begin(Plane *p, Endpoint *e) noexcept nogil:
    """Warm an endpoint that is new in rotation, or whose pool has changed, as if it was used."""
    prewarm_stop(p, e)
    e.used_ns = p.now_ns
    if is_wanted(p, e):
        fill(p, e)
    else:
        e.is_warm = 1


cdef void prewarm_stop(Plane *p, Endpoint *e) noexcept nogil:
    """Give up connects under way; idle conns stay."""
    cdef Conn *c
    timer_disarm(&p.wheel, &e.warm_timer)
    e.warm_wait_ns = 0
    while e.opening.head != NULL:
        c = e.opening.head
        conn_list_remove(&e.opening, c)
        endpoint_retire(p, c, CLOSED_SURPLUS)


# ---------------------------------------------------------------- conns without an owner


cdef void end_opening(Plane *p, Conn *c, bint has_failed) noexcept nogil:
    cdef Endpoint *e = c.endpoint
    conn_list_remove(&e.opening, c)
    if has_failed:
        e.n_connect_failures += 1
        endpoint_forget(e)
        release_conn(p, c)
        back_off(p, e)
    else:
        e.n_warmed += 1
        c.since_ns = p.now_ns
        release_idle_conn(p, c)
    if e.opening.n == 0:
        e.is_warm = 1


cdef void unowned_ready(Plane *p, Conn *c) noexcept nogil:
    """Serve a report on a conn without an owner: its connect has ended, or it has died."""
    cdef Endpoint *e = c.endpoint
    cdef int failure
    if c.connecting:
        failure = conn_finish_connect(c)
        if failure != CONNECT_MORE:
            end_opening(p, c, failure != 0)
        return
    conn_pump_tls(c)
    if c.may_read or c.saw_fin or c.broken:
        conn_list_remove(&e.idle, c)
        if c.served == 0 and p.now_ns - c.since_ns < FIRST_WAIT_NS:
            back_off(p, e)
        endpoint_lose_idle(p, c)


cdef void unowned_due(Plane *p, Conn *c) noexcept nogil:
    """Serve the timer of a conn without an owner."""
    cdef Endpoint *e = c.endpoint
    cdef uint64_t limit = keepalive_limit(e)
    if c.connecting:
        end_opening(p, c, 1)
    elif limit and p.now_ns >= c.since_ns + limit:
        conn_list_remove(&e.idle, c)
        endpoint_retire(p, c, CLOSED_IDLE)
        endpoint_want_warm(p, e)
    elif limit:
        timer_no_later(&p.wheel, &c.timer, c.since_ns + limit)
