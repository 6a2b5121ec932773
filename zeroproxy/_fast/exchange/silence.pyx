"""Exchanges whose endpoint owes them bytes: since when, and their end where it is gone.

Law 1. Who decides that an endpoint is gone is health (policy/health.py). Here only what was owed a
       byte for as long as it names is ended.
Law 2. It is ended as by its own deadline: what has begun is cut in its dialect, what has not is
       answered 504. Whether it was begun there nobody knows, so it is not sent again.
"""

from libc.stdint cimport uint32_t, uint64_t

from zeroproxy._fast.exchange.actions cimport cut, lose_attempt
from zeroproxy._fast.exchange.deadlines cimport arm
from zeroproxy._fast.exchange.hedge cimport hedge_takes_over, lose_rival
from zeroproxy._fast.types.exchange cimport CAUSE_TIMEOUT, PHASE_RELAYING, PHASE_WAITING
from zeroproxy._fast.types.plane cimport Endpoint, Plane, Relay
from zeroproxy._fast.upstream.breaker cimport RESULT_FAILED


cdef bint is_owed(const Relay *r, const Endpoint *e) noexcept nogil:
    """It is the endpoint's turn to speak: the request is sent, and the caller takes the answer."""
    return (
        r.live and r.attempt.counted and r.attempt.endpoint == e and r.x.request_body.done and not r.attempt.paused
        and (r.x.phase == PHASE_WAITING or r.x.phase == PHASE_RELAYING)
    )


cdef uint64_t owed_since(const Relay *r) noexcept nogil:
    cdef uint64_t asked = max(r.x.request_read_ns, r.attempt.sent_ns)
    return max(asked, r.x.last_data_ns)


cdef bint is_rival_silent(const Relay *r, const Endpoint *e, uint64_t before) noexcept nogil:
    return (
        r.live and r.hedge.endpoint == e and r.hedge.conn != NULL
        and 0 < r.hedge.sent_ns <= before
    )


cdef void end_attempt(Plane *p, Relay *r) noexcept nogil:
    """Nobody has answered r yet; a hedge at another endpoint goes on alone."""
    if r.hedge.conn == NULL or r.hedge.conn.connecting:
        lose_attempt(p, r, CAUSE_TIMEOUT)
        return
    r.attempt.endpoint.n_failures += 1
    r.attempt.ticket.result = RESULT_FAILED
    hedge_takes_over(p, r)
    arm(p, r)


cdef uint32_t end_silent(Plane *p, const Endpoint *e, uint64_t after) noexcept nogil:
    """End what `e` has owed a byte for `after` ns; returns how many exchanges lost an attempt."""
    cdef uint64_t before = p.now_ns - after if p.now_ns > after else 0
    cdef uint32_t i, n = 0
    cdef Relay *r
    for i in range(p.n_relays):
        r = p.relays[i]
        if is_rival_silent(r, e, before):
            n += 1
            lose_rival(p, r)
        elif is_owed(r, e) and owed_since(r) <= before:
            n += 1
            if r.x.phase == PHASE_RELAYING:
                cut(p, r, CAUSE_TIMEOUT)
            else:
                end_attempt(p, r)
    return n
