"""The engine's head where the caller has one already (exchange/keepalive.pyx).

Law. The caller was promised 200 and events. A head that is neither is a failure: the caller gets an
     error event, the record the engine's status. A head that fits is dropped, with its fields.
Tests: tests/relay/test_late_head.py.
"""

from zeroproxy._fast.exchange.actions cimport end_with
from zeroproxy._fast.exchange.keepalive cimport is_kept_stream
from zeroproxy._fast.types.exchange_enums cimport (
    BLAME_UPSTREAM,
    CAUSE_MALFORMED,
    CAUSE_REFUSED,
    IN_LOST,
)
from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.plane cimport Plane, Relay
from zeroproxy._fast.upstream.breaker cimport note_status
from zeroproxy._fast.upstream.learned_keepalive cimport keepalive_observe


cdef bint refuse_late_head(Plane *p, Relay *r, const Head *h) noexcept nogil:
    if not r.x.keepalive.has_head or is_kept_stream(r, h):
        return 0
    r.x.status = h.status
    r.x.response_head_ns = p.now_ns
    keepalive_observe(r.attempt.endpoint, h)
    note_status(r, h.status)
    if h.status >= 500:
        r.attempt.endpoint.n_failures += 1
    end_with(
        p, r, IN_LOST, BLAME_UPSTREAM, CAUSE_REFUSED if h.status >= 300 else CAUSE_MALFORMED
    )
    return 1
