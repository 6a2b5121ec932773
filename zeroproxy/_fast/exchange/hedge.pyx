"""A second endpoint is asked where the first says nothing; whoever answers first is relayed.

Law 1. Only before the first byte of any answer, only a request that is held whole, once per
       exchange, and within a budget: each exchange earns `hedge.budget` of one, ten are kept.
Law 2. The two attempts are equal: `Relay.up` and its like are one, `Relay.rival` the other, and
       swap_rival makes either the first. Both count at their endpoints; only who fails is blamed.
Law 3. The loser's conn is closed before a byte of the winner is relayed: its GPU is free.
Tests: tests/relay/test_hedge.py.
"""

from zeroproxy._fast.exchange.checkout cimport checkout_conn
from zeroproxy._fast.exchange.release cimport drop_rival, swap_rival
from zeroproxy._fast.exchange.retry cimport is_soon
from zeroproxy._fast.memory.buffer cimport buffer_bytes, buffer_len
from zeroproxy._fast.net.conn cimport (
    CONNECT_MORE,
    conn_finish_connect,
    conn_flush,
    conn_has_bytes,
    conn_send,
)
from zeroproxy._fast.types.limits cimport HEDGE_ONE
from zeroproxy._fast.types.plane cimport Conn, Endpoint, Plane, Relay, Upstream
from zeroproxy._fast.upstream.balancer cimport upstream_pick
from zeroproxy._fast.upstream.breaker cimport RESULT_FAILED, RESULT_NONE, attempt_begins
from zeroproxy._fast.upstream.latency_model cimport latency_attempt_begins


cdef Endpoint *second(Plane *p, const Relay *r) noexcept nogil:
    """Another endpoint than the one that was asked; NULL: none."""
    cdef Endpoint *e = upstream_pick(r.upstream, r.endpoint, r.affinity, p.now_ns)
    if e == NULL or e == r.endpoint or (r.edited and e.refuses_usage):
        return NULL
    return e


cdef void lose_rival(Plane *p, Relay *r) noexcept nogil:
    """The other attempt has failed. A rested conn that died at once is no sign of its endpoint."""
    cdef bint is_stale = r.rival.was_reused and is_soon(p, r.rival.sent_ns)
    r.rival.endpoint.n_failures += 1
    r.rival.ticket.result = RESULT_NONE if is_stale else RESULT_FAILED
    drop_rival(p, r)


cdef void send_rival(Plane *p, Relay *r) noexcept nogil:
    r.rival.sent_ns = p.now_ns
    if not conn_send(p, r.rival.up, buffer_bytes(&r.replay), buffer_len(&r.replay)):
        lose_rival(p, r)


cdef void hedge(Plane *p, Relay *r) noexcept nogil:
    """The first attempt is late: begin a second one, if there is an endpoint and a budget."""
    cdef Upstream *u = r.upstream
    cdef Endpoint *e = NULL
    r.is_hedged = 1
    if u.hedge_credit >= HEDGE_ONE:
        e = second(p, r)
    if e == NULL:
        return
    u.hedge_credit -= HEDGE_ONE
    u.n_hedges += 1
    r.is_hedged = 2
    swap_rival(r)
    r.endpoint = e
    latency_attempt_begins(p, r)
    attempt_begins(p, r)
    r.n_attempts += 1
    r.attempt_ns = p.now_ns
    checkout_conn(p, r)
    swap_rival(r)
    if r.rival.up == NULL:
        lose_rival(p, r)
    elif not r.rival.up.connecting:
        send_rival(p, r)


cdef void win(Plane *p, Relay *r) noexcept nogil:
    r.upstream.n_hedges_won += 1
    swap_rival(r)
    drop_rival(p, r)


cdef void hedge_ready(Plane *p, Relay *r, Conn *c) noexcept nogil:
    """A report for one of two attempts, of which none was answered. If it has won it is r.up."""
    cdef int failure
    if c != r.rival.up:
        return
    if c.connecting:
        failure = conn_finish_connect(c)
        if failure == CONNECT_MORE:
            return
        if failure:
            lose_rival(p, r)
            return
        send_rival(p, r)
    elif c.may_read and conn_has_bytes(c):
        win(p, r)
        return
    else:
        c.may_read = 0
        conn_flush(p, c)
    if r.rival.up == c and (c.saw_fin or c.broken):
        lose_rival(p, r)


cdef bint hedge_takes_over(Plane *p, Relay *r) noexcept nogil:
    """The first attempt has failed, its sign is noted: the other goes on alone. 0: there is none,
    or it has no conn yet."""
    if r.rival.up == NULL or r.rival.up.connecting:
        return 0
    win(p, r)
    return 1
