"""Deadlines: one per relay, computed from its phase and its last progress.

Law 1. A deadline is computed, never stored: progress only writes a time stamp, and a due timer
       only causes a check. So a relayed event costs no timer work.
Law 2. Every phase that waits has a limit of its own. A long prefill (first_byte) is no hang in
       mid-response (stream_idle), and a reader that does not read (stall) is neither.
       The prefill ends with the first content of a stream, not with its head (law 2 of
       count_and_strip).
Law 3. An exchange keeps the limits that were in force when its head began, in spite of a reload.
Law 4. The least rate of a body saves nothing. A caller ahead of it is measured from its last byte
       on, so a burst buys no permit for a trickle.
Law 5. Where no endpoint is in rotation, the hold counts: since then, or since the request came.
       With the first that is back the wait for a permit begins anew, once.
Tests: tests/relay/test_time.py, tests/relay/test_hold.py, tests/relay/test_reload.py.
"""

from libc.stdint cimport uint64_t

from zeroproxy._fast.exchange.keepalive cimport keepalive_due
from zeroproxy._fast.exchange.relay_pool cimport rate_begin
from zeroproxy._fast.net.conn cimport conn_is_backed_up
from zeroproxy._fast.net.timer cimport timer_no_later
from zeroproxy._fast.net.tls cimport tls_is_shaking
from zeroproxy._fast.types.clock cimport NS_PER_S
from zeroproxy._fast.types.exchange_enums cimport (
    DRAIN_ENDS,
    PHASE_CONNECTING,
    PHASE_FLUSHING,
    PHASE_HEAD,
    PHASE_IDLE,
    PHASE_LINGERING,
    PHASE_PENDING,
    PHASE_QUEUED,
    PHASE_RELAYING,
    PHASE_TUNNEL,
    PHASE_WAITING,
)
from zeroproxy._fast.types.hold cimport Waiting
from zeroproxy._fast.types.plane cimport Plane, Relay

cdef enum:
    # During a drain, time for a caller that has just connected to begin a request.
    FRESH_NS = 1000000000


#: Time for an answer of Python. It may have to fetch keys first (policy/key_sets.py).
cdef uint64_t PENDING_NS = 10 * <uint64_t>NS_PER_S
#: Time of a body beyond its least rate, where limits.body_timeout is off.
cdef uint64_t GRACE_NS = 10 * <uint64_t>NS_PER_S


cdef inline uint64_t after(uint64_t since_ns, uint64_t limit_ns) noexcept nogil:
    return since_ns + limit_ns if limit_ns else 0


cdef inline uint64_t earlier(uint64_t a, uint64_t b) noexcept nogil:
    return b if a == 0 else a if b == 0 or a < b else b


cdef uint64_t earned(const Relay *r) noexcept nogil:
    """Time that the body's bytes since rate_ns are good for, at the least rate."""
    cdef uint64_t came = r.x.request_body.total - r.x.rate_at
    return came // r.x.settings.body_rate * NS_PER_S \
        + came % r.x.settings.body_rate * NS_PER_S // r.x.settings.body_rate


cdef void body_came(const Plane *p, Relay *r) noexcept nogil:
    """Law 4, while a permit is held."""
    if r.x.settings.body_rate and r.x.phase >= PHASE_WAITING and r.x.rate_ns + earned(r) > p.now_ns:
        rate_begin(p, r)


cdef uint64_t body_deadline(const Relay *r) noexcept nogil:
    """A streamed body holds a permit. It is bound by the limit of the next byte, and by the least
    rate since rate_ns."""
    cdef uint64_t due = after(r.x.request_read_ns, r.x.settings.body_ns)
    if r.x.settings.body_rate == 0:
        return due
    return earlier(due, r.x.rate_ns + (r.x.settings.body_ns if due else GRACE_NS) + earned(r))


cdef bint body_is_late(const Plane *p, const Relay *r) noexcept nogil:
    cdef uint64_t due
    if r.x.request_body.done or conn_is_backed_up(r.attempt.conn):
        return 0
    due = body_deadline(r)
    return due != 0 and p.now_ns >= due


cdef uint64_t waiting_deadline(const Relay *r) noexcept nogil:
    if conn_is_backed_up(r.attempt.conn):
        return after(r.attempt.conn.write_ns, r.x.settings.stall_ns)
    if not r.x.request_body.done:
        return body_deadline(r)
    return after(r.x.request_read_ns, r.x.settings.first_byte_ns)


cdef uint64_t relaying_deadline(const Relay *r) noexcept nogil:
    if conn_is_backed_up(&r.down):
        return after(r.down.write_ns, r.x.settings.stall_ns)
    cdef uint64_t idle = after(r.x.last_data_ns, r.x.settings.stream_idle_ns)
    cdef uint64_t first
    if r.x.first_content_ns:
        return idle
    # A head, a role, response.created: the prefill goes on. Data without content is a sign of life.
    first = after(r.x.request_read_ns, r.x.settings.first_byte_ns)
    if not r.x.request_body.done and not conn_is_backed_up(r.attempt.conn):
        first = earlier(first, body_deadline(r))
    if r.x.last_data_ns <= r.x.response_head_ns or first == 0:
        return first
    return first if idle and first > idle else idle


cdef inline bint is_opening(const Relay *r) noexcept nogil:
    """Return 1 before the first byte of HTTP can come."""
    return r.awaits_proxy or tls_is_shaking(&r.down)


cdef uint64_t queued_deadline(const Relay *r) noexcept nogil:
    """A caller whose patience is known is refused when it ends: it would only be started to be
    cut."""
    cdef const Waiting *w = &r.x.waiting
    cdef uint64_t queue_ns = r.x.settings.queue_ns
    cdef uint64_t since = r.x.queued_ns, due
    if w.hold_ns == 0:
        due = after(since, queue_ns)
    elif r.x.upstream.hold.since_ns:
        due = max(since, r.x.upstream.hold.since_ns) + w.hold_ns
    else:
        due = after(max(since, r.x.upstream.hold.back_ns), queue_ns)
    if w.hold_ns and queue_ns:
        due = earlier(due, since + w.hold_ns + queue_ns)
    return earlier(due, after(r.x.began_ns, w.patience_ns))


cdef uint64_t deadline(const Plane *p, const Relay *r) noexcept nogil:
    cdef uint64_t due = 0, limit
    cdef int phase = r.x.phase
    if phase == PHASE_IDLE and p.draining == DRAIN_ENDS:
        return after(r.down.since_ns, FRESH_NS)
    if phase == PHASE_IDLE:
        return after(
            r.down.since_ns, p.limits.header_ns if is_opening(r) else p.limits.idle_ns
        )
    if phase == PHASE_HEAD and not r.x.is_composed:
        # With routes_at the head is here, and the start of the body is awaited.
        if r.x.routes_at:
            return after(r.x.request_read_ns, r.x.settings.body_ns)
        return after(r.x.began_ns, p.limits.header_ns)
    if phase == PHASE_FLUSHING:
        return after(r.down.write_ns, r.x.settings.stall_ns)
    if phase == PHASE_LINGERING:
        return after(r.down.since_ns, p.limits.linger_ns)
    if phase == PHASE_TUNNEL:
        return after(max(r.x.request_read_ns, r.x.last_data_ns), r.x.settings.tunnel_ns)
    if phase == PHASE_HEAD:
        due = after(r.x.request_read_ns, r.x.settings.body_ns)
    elif phase == PHASE_PENDING:
        due = after(r.x.request_read_ns, PENDING_NS)
    elif phase == PHASE_QUEUED:
        due = queued_deadline(r)
    elif phase == PHASE_CONNECTING:
        limit = r.x.settings.queue_ns if r.x.waits_conn else r.x.settings.connect_ns
        due = after(r.attempt.began_ns, limit)
    elif phase == PHASE_WAITING:
        due = waiting_deadline(r)
    elif phase == PHASE_RELAYING:
        due = relaying_deadline(r)
    return earlier(due, after(r.x.began_ns, r.x.settings.total_ns))


cdef uint64_t hedge_due(const Relay *r) noexcept nogil:
    if r.x.settings.hedge_ns == 0 or r.x.phase != PHASE_WAITING:
        return 0
    if r.x.is_hedged or r.attempt.got_byte or not (r.x.replayable and r.x.request_body.done):
        return 0
    return r.attempt.sent_ns + r.x.settings.hedge_ns


cdef void arm(Plane *p, Relay *r) noexcept nogil:
    """The timer may fire earlier."""
    cdef uint64_t due = earlier(deadline(p, r), hedge_due(r))
    if r.x.keepalive.after_ns:
        due = earlier(due, keepalive_due(r))
    timer_no_later(&p.wheel, &r.down.timer, due)
