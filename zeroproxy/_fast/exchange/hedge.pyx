"""Hedges: a second attempt at another endpoint when the first is late. The first answer is relayed.

Law 1. A hedge starts only before the first byte of any answer, and for a request held whole. It
       starts once per exchange, and within a budget: each earns `hedge.budget` of one, ten are
       kept.
Law 2. The two attempts are equal: `Relay.attempt` is one, `Relay.hedge` the other, and
       swap_attempts exchanges them. Both count at their endpoints; only one that fails is blamed.
Law 3. The loser's conn is closed before a byte of the winner is relayed, which frees its GPU.
Tests: tests/relay/test_hedge.py.
"""

from zeroproxy._fast.exchange.attempt_release cimport drop_hedge, swap_attempts
from zeroproxy._fast.exchange.checkout cimport checkout_conn
from zeroproxy._fast.exchange.replay cimport send_replay
from zeroproxy._fast.exchange.retry_facts cimport is_left_behind, is_soon
from zeroproxy._fast.net.conn cimport CONNECT_MORE, conn_finish_connect, conn_flush, conn_has_bytes
from zeroproxy._fast.types.exchange_limits cimport HEDGE_ONE
from zeroproxy._fast.types.plane cimport Conn, Endpoint, Plane, Relay, Upstream
from zeroproxy._fast.upstream.balancer cimport upstream_pick
from zeroproxy._fast.upstream.breaker cimport RESULT_FAILED, RESULT_NONE, attempt_begins
from zeroproxy._fast.upstream.latency_model cimport latency_attempt_begins


cdef Endpoint *second(Plane *p, const Relay *r) noexcept nogil:
    """Another endpoint than that of the first attempt; NULL: none."""
    cdef Endpoint *e = upstream_pick(r.x.upstream, r.attempt.endpoint, r.x.affinity, p.now_ns)
    if e == NULL or e == r.attempt.endpoint or (r.x.edited and e.refuses_usage):
        return NULL
    return e


cdef void lose_hedge(Plane *p, Relay *r) noexcept nogil:
    """A reused conn that died at once is no sign of its endpoint's health."""
    cdef bint is_stale = r.hedge.was_reused and is_soon(p, r.hedge.sent_ns)
    r.hedge.endpoint.n_failures += 1
    r.hedge.ticket.result = RESULT_NONE if is_stale else RESULT_FAILED
    drop_hedge(p, r)


cdef void send_hedge(Plane *p, Relay *r) noexcept nogil:
    r.hedge.sent_ns = p.now_ns
    if not send_replay(p, r, &r.hedge):
        lose_hedge(p, r)


cdef void hedge(Plane *p, Relay *r) noexcept nogil:
    cdef Upstream *u = r.x.upstream
    cdef Endpoint *e = NULL
    r.x.is_hedged = 1
    if u.hedge_credit >= HEDGE_ONE and not is_left_behind(p, r):
        e = second(p, r)
    if e == NULL:
        return
    u.hedge_credit -= HEDGE_ONE
    u.n_hedges += 1
    r.x.is_hedged = 2
    swap_attempts(r)
    r.attempt.endpoint = e
    latency_attempt_begins(p, r)
    attempt_begins(p, r)
    r.x.n_attempts += 1
    r.attempt.began_ns = p.now_ns
    checkout_conn(p, r)
    swap_attempts(r)
    if r.hedge.conn == NULL:
        lose_hedge(p, r)
    elif not r.hedge.conn.connecting:
        send_hedge(p, r)


cdef void win(Plane *p, Relay *r) noexcept nogil:
    r.x.upstream.n_hedges_won += 1
    swap_attempts(r)
    drop_hedge(p, r)


cdef void hedge_ready(Plane *p, Relay *r, Conn *c) noexcept nogil:
    cdef int failure
    if c != r.hedge.conn:
        return
    if c.connecting:
        failure = conn_finish_connect(c)
        if failure == CONNECT_MORE:
            return
        if failure:
            lose_hedge(p, r)
            return
        send_hedge(p, r)
    elif c.may_read and conn_has_bytes(c):
        win(p, r)
        return
    else:
        c.may_read = 0
        conn_flush(p, c)
    if r.hedge.conn == c and (c.saw_fin or c.broken):
        lose_hedge(p, r)


cdef bint hedge_takes_over(Plane *p, Relay *r) noexcept nogil:
    """The failure of the first is noted before. A hedge that still connects does not count."""
    if r.hedge.conn == NULL or r.hedge.conn.connecting:
        return 0
    win(p, r)
    return 1
