"""A second endpoint is asked where the first says nothing; whoever answers first is relayed.

Law 1. Only before the first byte of any answer, only a request that is held whole, once per
       exchange, and within a budget: each exchange earns `hedge.budget` of one, ten are kept.
Law 2. The two attempts are equal: `Attempt.conn` and its like are one, `Relay.rival` the other, and
       swap_rival makes either the first. Both count at their endpoints; only who fails is blamed.
Law 3. The loser's conn is closed before a byte of the winner is relayed: its GPU is free.
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
    cdef Endpoint *e = upstream_pick(r.x.upstream, r.attempt.endpoint, r.x.affinity, p.now_ns)
    if e == NULL or e == r.attempt.endpoint or (r.x.edited and e.refuses_usage):
        return NULL
    return e


cdef void lose_rival(Plane *p, Relay *r) noexcept nogil:
    """The other attempt has failed. A rested conn that died at once is no sign of its endpoint."""
    cdef bint is_stale = r.hedge.was_reused and is_soon(p, r.hedge.sent_ns)
    r.hedge.endpoint.n_failures += 1
    r.hedge.ticket.result = RESULT_NONE if is_stale else RESULT_FAILED
    drop_rival(p, r)


cdef void send_rival(Plane *p, Relay *r) noexcept nogil:
    r.hedge.sent_ns = p.now_ns
    if not conn_send(p, r.hedge.conn, buffer_bytes(&r.x.replay), buffer_len(&r.x.replay)):
        lose_rival(p, r)


cdef void hedge(Plane *p, Relay *r) noexcept nogil:
    """The first attempt is late: begin a second one, if there is an endpoint and a budget."""
    cdef Upstream *u = r.x.upstream
    cdef Endpoint *e = NULL
    r.x.is_hedged = 1
    if u.hedge_credit >= HEDGE_ONE:
        e = second(p, r)
    if e == NULL:
        return
    u.hedge_credit -= HEDGE_ONE
    u.n_hedges += 1
    r.x.is_hedged = 2
    swap_rival(r)
    r.attempt.endpoint = e
    latency_attempt_begins(p, r)
    attempt_begins(p, r)
    r.x.n_attempts += 1
    r.attempt.began_ns = p.now_ns
    checkout_conn(p, r)
    swap_rival(r)
    if r.hedge.conn == NULL:
        lose_rival(p, r)
    elif not r.hedge.conn.connecting:
        send_rival(p, r)


cdef void win(Plane *p, Relay *r) noexcept nogil:
    r.x.upstream.n_hedges_won += 1
    swap_rival(r)
    drop_rival(p, r)


cdef void hedge_ready(Plane *p, Relay *r, Conn *c) noexcept nogil:
    """A report for one of two attempts, of which none was answered. If it has won it is r.attempt.conn."""
    cdef int failure
    if c != r.hedge.conn:
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
    if r.hedge.conn == c and (c.saw_fin or c.broken):
        lose_rival(p, r)


cdef bint hedge_takes_over(Plane *p, Relay *r) noexcept nogil:
    """The first attempt has failed, its sign is noted: the other goes on alone. 0: there is none,
    or it has no conn yet."""
    if r.hedge.conn == NULL or r.hedge.conn.connecting:
        return 0
    win(p, r)
    return 1
