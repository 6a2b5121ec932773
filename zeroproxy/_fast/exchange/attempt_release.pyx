"""The attempts of an exchange: two at most, each on an upstream conn of its own. Beside them the
fifo of exchanges that wait for a conn.

Law 1. All that one attempt acquires is in its struct: `Relay.attempt`, or `Relay.hedge` while no
       endpoint has answered. So the two swap as whole structs.
Law 2. An attempt that was counted at its endpoint ends once, when it is released.
Tests: tests/relay/test_hedge.py, tests/relay/test_caps.py.
"""

from libc.string cimport memset

from zeroproxy._fast.exchange.relay_pool cimport relay_later
from zeroproxy._fast.net.conn cimport conn_discard_unread
from zeroproxy._fast.tenants.fifo cimport fifo_push, fifo_remove
from zeroproxy._fast.types.conn_pool cimport CLOSED_EXCHANGE
from zeroproxy._fast.types.plane cimport Attempt, Conn, Plane, Relay, Upstream
from zeroproxy._fast.upstream.breaker cimport attempt_ends
from zeroproxy._fast.upstream.conn_pool cimport endpoint_retire, release_idle_conn
from zeroproxy._fast.upstream.latency_model cimport latency_attempt_ends


# ---------------------------------------------------------------- waiting for a conn


cdef void wake_waiting(Plane *p, Upstream *u) noexcept nogil:
    """A conn may be available: the first in the fifo tries again."""
    if u.conn_waiters.head != NULL:
        relay_later(p, u.conn_waiters.head)


cdef void wait_for_conn(Plane *p, Relay *r) noexcept nogil:
    if r.x.waits_conn:
        return
    r.x.waits_conn = 1
    r.attempt.began_ns = p.now_ns
    fifo_push(&r.x.upstream.conn_waiters, r)
    r.x.upstream.n_waited += 1


cdef void stop_waiting(Plane *p, Relay *r) noexcept nogil:
    """There may be conns for more than one: the next tries too."""
    if r.x.waits_conn:
        r.x.waits_conn = 0
        fifo_remove(&r.x.upstream.conn_waiters, r)
        wake_waiting(p, r.x.upstream)


# ---------------------------------------------------------------- attempts


cdef void release_attempt_conn(Plane *p, Relay *r) noexcept nogil:
    """Return the conn of the current attempt to its pool, or close it."""
    cdef Conn *c = r.attempt.conn
    if c == NULL:
        return
    if (
        r.attempt.keeps_conn and r.x.response_body.done
        and not (c.saw_fin or c.broken or c.deferred)
    ):
        c.served += 1
        release_idle_conn(p, c)
    else:
        conn_discard_unread(c)
        endpoint_retire(p, c, CLOSED_EXCHANGE)
    r.attempt.conn = NULL
    wake_waiting(p, r.x.upstream)


cdef void end_attempt(Plane *p, Relay *r) noexcept nogil:
    if r.attempt.counted:
        latency_attempt_ends(p, r)
        attempt_ends(p, r)
    release_attempt_conn(p, r)


cdef void swap_attempts(Relay *r) noexcept nogil:
    cdef Attempt other = r.hedge
    r.hedge = r.attempt
    r.attempt = other


cdef void drop_hedge(Plane *p, Relay *r) noexcept nogil:
    """The attempt counts at its endpoint only as its ticket has it."""
    if r.hedge.endpoint == NULL:
        return
    swap_attempts(r)
    end_attempt(p, r)
    swap_attempts(r)
    memset(&r.hedge, 0, sizeof(Attempt))


cdef void release_attempt(Plane *p, Relay *r) noexcept nogil:
    """The endpoint and the times stay, for the record."""
    drop_hedge(p, r)
    end_attempt(p, r)
    r.attempt.keeps_conn = 0
    r.attempt.paused = 0
    r.attempt.got_byte = 0
