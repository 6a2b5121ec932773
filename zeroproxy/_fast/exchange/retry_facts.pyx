"""Facts of an attempt that has failed, for the law of retries (state_machine.pyx, may_retry).

Law 1. A server that closes an idle conn does not know of the request on its way. Its FIN or RST was
       sent before the request came. So it arrives within one round trip of the send: 1 ms in a
       cluster, 150 ms between continents. An end later than RACE_NS is no race: the endpoint had
       the request, and may have died of it.
Law 2. An end of any age is harmless where the peer's kernel has acknowledged nothing of the
       request. TCP in the clear reports that. A unix socket cannot; TLS sends more than it was
       given.
Law 3. Nothing is begun for a caller whose own patience has ended: no attempt, no hedge.
Tests: tests/relay/test_races.py, tests/relay/test_retries.py, tests/relay/test_steer.py.
"""

from libc.stdint cimport uint64_t

from zeroproxy._fast.exchange.state_machine cimport RetryFacts, may_retry
from zeroproxy._fast.memory.buffer cimport buffer_len
from zeroproxy._fast.net.syscalls cimport SIOCOUTQ, ioctl
from zeroproxy._fast.types.clock cimport NS_PER_MS
from zeroproxy._fast.types.http cimport (
    METHOD_DELETE,
    METHOD_GET,
    METHOD_HEAD,
    METHOD_OPTIONS,
    METHOD_PUT,
)
from zeroproxy._fast.types.plane cimport Conn, Plane, Relay

cdef enum:
    ATTEMPTS_MOST = 1 << 20

cdef uint64_t RACE_NS = 200 * <uint64_t>NS_PER_MS


cdef bint is_soon(const Plane *p, uint64_t sent_ns) noexcept nogil:
    return p.now_ns - sent_ns <= RACE_NS


cdef uint64_t sent_len(const Relay *r) noexcept nogil:
    """Bytes of the request as it was sent (replay.pyx's note)."""
    return buffer_len(&r.x.replay) + (r.attempt.endpoint.authority_len if r.x.host_at else 0)


cdef bint is_untouched(const Relay *r) noexcept nogil:
    """Return 1 if nothing of the request has been acknowledged."""
    cdef const Conn *c = r.attempt.conn
    cdef int unacked = 0
    if c.tls != NULL or ioctl(c.fd, SIOCOUTQ, &unacked) < 0 or unacked <= 0:
        return 0
    return <uint64_t>unacked + buffer_len(&c.outbuf) >= sent_len(r)


cdef bint is_idempotent(const Relay *r) noexcept nogil:
    return r.x.method in (METHOD_GET, METHOD_HEAD, METHOD_OPTIONS, METHOD_PUT, METHOD_DELETE)


cdef bint is_left_behind(const Plane *p, const Relay *r) noexcept nogil:
    return r.x.waiting.patience_ns != 0 and p.now_ns - r.x.began_ns >= r.x.waiting.patience_ns


cdef void describe_attempt(const Plane *p, const Relay *r, RetryFacts *a) noexcept nogil:
    a.head_sent = r.x.head_sent
    a.got_byte = r.attempt.got_byte
    a.replayable = r.x.replayable
    a.connected = r.attempt.conn != NULL and not r.attempt.conn.connecting
    a.reused = r.attempt.was_reused
    a.is_race = a.connected and a.reused and (is_soon(p, r.attempt.sent_ns) or is_untouched(r))
    a.is_idempotent = is_idempotent(r)
    a.busy = 0
    a.timed_out = 0
    a.tried = <int>ATTEMPTS_MOST if is_left_behind(p, r) else r.x.n_attempts
    a.attempts = <int>r.x.settings.max_attempts + (r.x.is_hedged == 2)
    if r.attempt.was_reused or r.x.needs_fresh_conn:
        # An idle conn that died is no sign of the endpoint's health, and costs no attempt, once.
        # Otherwise with attempts = 1 the race with a server's keep-alive would reach the caller.
        a.attempts += 1


cdef bint is_stale(const RetryFacts *a) noexcept nogil:
    """Such an end is no sign of the endpoint's health."""
    return a.is_race and not a.got_byte and not a.timed_out


cdef bint is_withheld(const RetryFacts *a) noexcept nogil:
    cdef RetryFacts sooner = a[0]
    sooner.is_race = 1
    return a.connected and not may_retry(a) and may_retry(&sooner)
