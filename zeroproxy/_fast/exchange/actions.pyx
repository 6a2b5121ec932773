"""Actions of the exchange table: connect, send, retry, reply, cut, flush, close.

Note 1. `feed` is the only caller of exchange_step. It runs as a loop, not as a recursion: an action
        returns the next input, or NOTHING when the exchange has to wait.
Note 2. After `feed` the relay may be closed: callers check r.x.phase before they touch it.
"""

from libc.stddef cimport size_t
from libc.string cimport memcpy

from zeroproxy._fast.exchange.attempt_release cimport release_attempt
from zeroproxy._fast.exchange.checkout cimport (
    checkout_conn,
    checkout_endpoint,
    failed_for_lack_of_fds,
)
from zeroproxy._fast.exchange.deadlines cimport arm
from zeroproxy._fast.exchange.error_body cimport write_cut_event
from zeroproxy._fast.exchange.hedge cimport hedge_takes_over
from zeroproxy._fast.exchange.hold cimport hold_again, hold_takes_busy, hold_takes_lost
from zeroproxy._fast.exchange.keepalive cimport send_late_error
from zeroproxy._fast.exchange.local_reply cimport send_local_reply
from zeroproxy._fast.exchange.permits cimport NOTHING, admit
from zeroproxy._fast.exchange.relay_pool cimport (
    blame,
    rate_begin,
    relay_later,
    relay_reset,
    release_relay,
)
from zeroproxy._fast.exchange.release cimport release_all, write_record
from zeroproxy._fast.exchange.replay cimport send_replay, undo_edits
from zeroproxy._fast.exchange.retry_facts cimport describe_attempt, is_stale, is_withheld
from zeroproxy._fast.exchange.state_machine cimport RetryFacts, exchange_step, may_retry
from zeroproxy._fast.http1.body cimport frame_chunk
from zeroproxy._fast.memory.buffer cimport buffer_append, buffer_bytes, buffer_clear, buffer_len
from zeroproxy._fast.net.conn cimport (
    conn_close,
    conn_flush,
    conn_forbid_close_notify,
    conn_is_backed_up,
    conn_reset,
    conn_send,
    conn_send_close_notify,
    conn_shut,
    conn_time_deferred,
)
from zeroproxy._fast.types.exchange_enums cimport (
    ACT_ADMIT,
    ACT_ANSWER,
    ACT_CLOSE,
    ACT_CONNECT,
    ACT_CUT,
    ACT_FLUSH,
    ACT_HOLD,
    ACT_LINGER,
    ACT_NEXT,
    ACT_NONE,
    ACT_RETRY,
    ACT_SEND,
    BLAME_DOWNSTREAM,
    BLAME_NOBODY,
    BLAME_OURSELVES,
    BLAME_UPSTREAM,
    CAUSE_CLOSED,
    CAUSE_OVERLOAD,
    CAUSE_REFUSED,
    CAUSE_RESET,
    CAUSE_TIMEOUT,
    DRAIN_ENDS,
    IN_CONNECTED,
    IN_CUT,
    IN_DRAINED,
    IN_FLUSHED,
    IN_FLUSHED_CLOSE,
    IN_GONE,
    IN_HELD,
    IN_LOST,
    IN_LOST_MAY_RETRY,
    IN_REFUSED,
    PHASE_IDLE,
    PHASE_LINGERING,
    PHASE_RELAYING,
    PHASE_WAITING,
    Action,
    Input,
)
from zeroproxy._fast.types.http cimport FRAMING_CHUNKED, FRAMING_CLOSE
from zeroproxy._fast.types.memory cimport SLACK
from zeroproxy._fast.types.plane cimport Endpoint, Plane, Relay
from zeroproxy._fast.upstream.breaker cimport (
    RESULT_BUSY,
    RESULT_FAILED,
    RESULT_NONE,
    attempt_begins,
)
from zeroproxy._fast.upstream.conn_pool cimport endpoint_forget
from zeroproxy._fast.upstream.latency_model cimport latency_attempt_begins
from zeroproxy._fast.upstream.learned_keepalive cimport keepalive_lower

# ---------------------------------------------------------------- attempts


cdef int connect_attempt(Plane *p, Relay *r) noexcept nogil:
    """Choose an endpoint and check out a conn to it."""
    cdef Endpoint *e = checkout_endpoint(p, r)
    if e == NULL:
        return NOTHING if r.x.waits_conn else IN_REFUSED
    r.attempt.endpoint = e
    latency_attempt_begins(p, r)
    attempt_begins(p, r)
    r.x.n_attempts += 1
    r.attempt.began_ns = p.now_ns
    r.attempt.sent_ns = 0
    checkout_conn(p, r)
    if r.attempt.conn == NULL:
        if failed_for_lack_of_fds():
            blame(r, BLAME_OURSELVES, CAUSE_OVERLOAD)
            return IN_REFUSED
        return attempt_lost(p, r, CAUSE_REFUSED)
    return NOTHING if r.attempt.conn.connecting else IN_CONNECTED


cdef void connect_waiting(Plane *p, Relay *r) noexcept nogil:
    feed(p, r, connect_attempt(p, r))


cdef void send_continue(Plane *p, Relay *r) noexcept nogil:
    conn_send(p, &r.down, b"HTTP/1.1 100 Continue\r\n\r\n", 25)


cdef int send_held(Plane *p, Relay *r) noexcept nogil:
    """The upstream conn is ready: send the replay buffer, and read the body on."""
    if r.x.edited and r.attempt.endpoint.refuses_usage and r.x.replayable:
        undo_edits(r)
    if r.x.owes_continue and r.x.request_body.total == 0 and not r.x.request_body.done:
        send_continue(p, r)
    r.x.owes_continue = 0
    r.x.last_data_ns = r.x.request_read_ns = r.attempt.sent_ns = p.now_ns
    rate_begin(p, r)
    if not send_replay(p, r, &r.attempt):
        return attempt_lost(p, r, CAUSE_RESET)
    conn_time_deferred(p, r.attempt.conn, &r.x.overhead_ns)
    if r.x.down_paused:
        r.x.down_paused = 0
        relay_later(p, r)
    return NOTHING


cdef bint send_up(Plane *p, Relay *r, const char *at, size_t n) noexcept nogil:
    """The replay buffer takes them while a retry may need them. 0: they fit nowhere. The caller
    obeys `down_paused`, so that means the conn broke."""
    cdef bint is_sent = r.x.phase == PHASE_WAITING or r.x.phase == PHASE_RELAYING
    if r.x.replayable and not buffer_append(&r.x.replay, &p.blocks, at, n):
        if not is_sent:
            return 0
        r.x.replayable = 0
        buffer_clear(&r.x.replay, &p.blocks)
    if not is_sent:
        return 1
    return r.attempt.conn != NULL and conn_send(p, r.attempt.conn, at, n)


cdef int attempt_lost(Plane *p, Relay *r, int why) noexcept nogil:
    """Choose between another attempt and an error; note the blame only when it is final."""
    cdef RetryFacts a
    describe_attempt(p, r, &a)
    a.timed_out = why == CAUSE_TIMEOUT
    r.attempt.endpoint.n_failures += 1
    r.attempt.ticket.result = RESULT_NONE if is_stale(&a) else RESULT_FAILED
    if not a.connected:
        r.attempt.endpoint.n_connect_failures += 1
        endpoint_forget(r.attempt.endpoint)
    if why != CAUSE_TIMEOUT and hedge_takes_over(p, r):
        return NOTHING
    if hold_takes_lost(p, r, &a, why):
        return IN_HELD
    if may_retry(&a):
        if a.connected:
            r.attempt.endpoint.n_stale_retries += 1
            r.x.needs_fresh_conn = 1
        if a.is_race:
            keepalive_lower(r.attempt.endpoint, r.attempt.conn, r.attempt.began_ns)
        return IN_LOST_MAY_RETRY
    r.attempt.endpoint.n_retries_withheld += is_withheld(&a)
    blame(r, BLAME_UPSTREAM, why)
    return IN_LOST


cdef bint try_elsewhere(Plane *p, Relay *r) noexcept nogil:
    """The endpoint answered 503 or 429: it has not begun to work on this request."""
    cdef RetryFacts a
    if hold_takes_busy(p, r):
        feed(p, r, IN_HELD)
        return 1
    if not r.x.settings.retry_on_busy:
        return 0
    describe_attempt(p, r, &a)
    a.busy = 1
    a.attempts = <int>r.x.settings.max_attempts
    if not may_retry(&a):
        return 0
    r.attempt.endpoint.n_failures += 1
    r.attempt.ticket.result = RESULT_BUSY
    feed(p, r, IN_LOST_MAY_RETRY)
    return 1


cdef bint retry_idle_notice(Plane *p, Relay *r) noexcept nogil:
    """The 408 closes, and is the first on a reused conn. The server timed out before the request
    came, and has not read it (RFC 9110 15.5.9)."""
    cdef RetryFacts a
    r.attempt.got_byte = 0
    describe_attempt(p, r, &a)
    if r.x.interims or not a.is_race or not may_retry(&a):
        r.attempt.got_byte = 1
        return 0
    lose_attempt(p, r, CAUSE_CLOSED)
    return 1


cdef void lose_attempt(Plane *p, Relay *r, int why) noexcept nogil:
    feed(p, r, attempt_lost(p, r, why))


cdef void flush_more(Plane *p, Relay *r) noexcept nogil:
    feed(p, r, flush(p, r))


cdef void end_with(Plane *p, Relay *r, int what, int who, int why) noexcept nogil:
    blame(r, who, why)
    feed(p, r, what)


cdef bint is_answered(const Relay *r) noexcept nogil:
    """A server that dies reports its error and may send [DONE] behind it: that does not count."""
    return r.x.scan.meter.is_ended and not r.x.scan.meter.has_failed


cdef void cut(Plane *p, Relay *r, int why) noexcept nogil:
    """A failure behind the end of an answer is no sign of the endpoint's health."""
    if is_answered(r):
        r.attempt.endpoint.n_unframed += 1
        r.attempt.ticket.result = RESULT_NONE
    else:
        r.attempt.endpoint.n_failures += 1
        r.attempt.ticket.result = RESULT_FAILED
    end_with(p, r, IN_CUT, BLAME_UPSTREAM, why)


# ---------------------------------------------------------------- endings


cdef int flush(Plane *p, Relay *r) noexcept nogil:
    """Wait until downstream has all bytes; then comes the next request, or the end."""
    if r.down.deferred:
        r.down.write_ns = p.now_ns
        relay_later(p, r)
        return NOTHING
    if r.down.broken or not (conn_flush(p, &r.down) or r.down.may_write == 0):
        return IN_GONE
    if conn_is_backed_up(&r.down):
        return NOTHING
    return IN_FLUSHED_CLOSE if must_close(p, r) else IN_FLUSHED


cdef bint must_close(Plane *p, Relay *r) noexcept nogil:
    return (
        r.x.asks_close or not r.x.request_body.done or p.draining == DRAIN_ENDS
        or (r.down.saw_fin and not r.x.settings.serves_half_close)
        or (r.x.blame != BLAME_NOBODY and r.x.ended_in >= PHASE_RELAYING)
    )


cdef int finish_refused(Plane *p, Relay *r) noexcept nogil:
    release_all(p, r)
    if not r.x.request_body.done or p.draining:
        r.x.asks_close = 1
    if not (send_late_error(p, r) if r.x.keepalive.has_head else send_local_reply(p, r)):
        return IN_GONE
    return flush(p, r)


cdef int finish_cut(Plane *p, Relay *r) noexcept nogil:
    """Send an error in the stream's dialect if an event had just ended; never end cleanly. An
    event that was held back is whole, and goes first."""
    cdef char *at = p.scratch + SLACK
    cdef size_t before = 0, n = r.x.held_back.len
    if n:
        memcpy(at, buffer_bytes(&r.x.partial_event), n)
        r.x.bytes_out += n
        r.x.held_back.len = 0
    release_all(p, r)
    r.x.asks_close = 1
    if r.x.is_streamed and r.x.scan.meter.at_edge and not is_answered(r):
        n += write_cut_event(r, at + n, 1024)
    if r.x.out_framing == FRAMING_CHUNKED and n:
        before = frame_chunk(at, n)
        n += before + 2
    if r.x.out_framing == FRAMING_CHUNKED or r.x.out_framing == FRAMING_CLOSE:
        conn_send(p, &r.down, at - before, n)
    return flush(p, r)


cdef int next_request(Plane *p, Relay *r) noexcept nogil:
    write_record(p, r)
    relay_reset(p, r)
    if buffer_len(&r.down.inbuf) or r.down.may_read:
        relay_later(p, r)
    return NOTHING


cdef bint looks_complete_when_closed(const Relay *r) noexcept nogil:
    """Without chunks or a length, a FIN would be taken for the end: only a RST prevents that."""
    return r.x.out_framing == FRAMING_CLOSE and r.x.blame != BLAME_NOBODY


cdef bint is_read_up(const Relay *r) noexcept nogil:
    """All bytes of the caller are read, so closing sends a FIN and the answer is safe."""
    return (
        r.x.request_body.done and r.x.fault == 0 and not r.down.may_read
        and not buffer_len(&r.down.inbuf)
    )


cdef int linger_on(Plane *p, Relay *r) noexcept nogil:
    write_record(p, r)
    if looks_complete_when_closed(r):
        conn_reset(p, &r.down)
        return IN_DRAINED
    if r.x.blame != BLAME_NOBODY and (r.x.ended_in >= PHASE_RELAYING or r.x.keepalive.has_head):
        conn_forbid_close_notify(&r.down)
    if r.down.saw_fin or (is_read_up(r) and conn_send_close_notify(&r.down)):
        return IN_DRAINED
    conn_shut(p, &r.down)
    r.down.since_ns = p.now_ns
    relay_later(p, r)
    return NOTHING


cdef int close_relay(Plane *p, Relay *r, int was) noexcept nogil:
    if was != PHASE_LINGERING and was != PHASE_IDLE and not r.x.was_served:
        blame(r, BLAME_DOWNSTREAM, CAUSE_RESET)
        conn_forbid_close_notify(&r.down)
    release_all(p, r)
    write_record(p, r)
    conn_close(p, &r.down)
    release_relay(p, r)
    return NOTHING


# ---------------------------------------------------------------- moves


cdef int perform(Plane *p, Relay *r, Action action, int was) noexcept nogil:
    if action == ACT_ADMIT:
        return admit(p, r)
    if action == ACT_CONNECT:
        return connect_attempt(p, r)
    if action == ACT_SEND:
        return send_held(p, r)
    if action == ACT_RETRY:
        release_attempt(p, r)
        return connect_attempt(p, r)
    if action == ACT_HOLD:
        return hold_again(p, r)
    if action == ACT_ANSWER:
        return finish_refused(p, r)
    if action == ACT_FLUSH:
        release_all(p, r)
        return flush(p, r)
    if action == ACT_CUT:
        return finish_cut(p, r)
    if action == ACT_NEXT:
        return next_request(p, r)
    if action == ACT_LINGER:
        return linger_on(p, r)
    if action == ACT_NONE:
        return NOTHING
    if action != ACT_CLOSE:
        p.counters.bugs += 1
    return close_relay(p, r, was)


cdef void feed(Plane *p, Relay *r, int what) noexcept nogil:
    cdef Action action
    cdef int was
    while what != NOTHING:
        was = r.x.phase
        action = exchange_step(&r.x.phase, <Input>what)
        what = perform(p, r, action, was)
    if r.live:
        arm(p, r)
