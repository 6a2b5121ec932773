"""Exchanges that an endpoint owes bytes, and their end when it is gone.

Law 1. Health decides that an endpoint is gone (policy/health.py), and names a time. Only exchanges
       that were owed a byte for that long are ended.
Law 2. They end as by their own deadline. A response that has begun is cut in its dialect; others
       get a 504. The endpoint may have worked on the request, so it is not sent again.
Tests: tests/relay/test_silence.py.
"""

from libc.stdint cimport uint32_t, uint64_t

from zeroproxy._fast.exchange.actions cimport cut, lose_attempt
from zeroproxy._fast.exchange.deadlines cimport arm
from zeroproxy._fast.exchange.hedge cimport hedge_takes_over, lose_hedge
from zeroproxy._fast.types.exchange_enums cimport CAUSE_TIMEOUT, PHASE_RELAYING, PHASE_WAITING
from zeroproxy._fast.types.plane cimport Endpoint, Plane, Relay
from zeroproxy._fast.upstream.breaker cimport RESULT_FAILED


cdef bint is_owed(const Relay *r, const Endpoint *e) noexcept nogil:
    return (
        r.live and r.attempt.counted and r.attempt.endpoint == e and not r.attempt.paused
        and r.x.request_body.done and (r.x.phase == PHASE_WAITING or r.x.phase == PHASE_RELAYING)
    )


cdef uint64_t owed_since(const Relay *r) noexcept nogil:
    """Since when the endpoint owes bytes, in monotonic ns."""
    cdef uint64_t sent_ns = max(r.x.request_read_ns, r.attempt.sent_ns)
    return max(sent_ns, r.x.last_data_ns)


cdef bint is_hedge_silent(const Relay *r, const Endpoint *e, uint64_t before) noexcept nogil:
    return (
        r.live and r.hedge.endpoint == e and r.hedge.conn != NULL
        and 0 < r.hedge.sent_ns <= before
    )


cdef void lose_silent_attempt(Plane *p, Relay *r) noexcept nogil:
    """No endpoint has answered `r` yet; a hedge at another one goes on alone."""
    if r.hedge.conn == NULL or r.hedge.conn.connecting:
        lose_attempt(p, r, CAUSE_TIMEOUT)
        return
    r.attempt.endpoint.n_failures += 1
    r.attempt.ticket.result = RESULT_FAILED
    hedge_takes_over(p, r)
    arm(p, r)


cdef uint32_t end_silent(Plane *p, const Endpoint *e, uint64_t after) noexcept nogil:
    cdef uint64_t before = p.now_ns - after if p.now_ns > after else 0
    cdef uint32_t i, n = 0
    cdef Relay *r
    for i in range(p.n_relays):
        r = p.relays[i]
        if is_hedge_silent(r, e, before):
            n += 1
            lose_hedge(p, r)
        elif is_owed(r, e) and owed_since(r) <= before:
            n += 1
            if r.x.phase == PHASE_RELAYING:
                cut(p, r, CAUSE_TIMEOUT)
            else:
                lose_silent_attempt(p, r)
    return n
