"""Upstream bytes: the response head is rewritten, the body goes recv, unframe, meter, frame, send.

Law 1. Everything happens in one block of memory and leaves with one send. Only bytes that
       downstream could not take are kept; upstream is not read again before it has taken them.
Law 2. A response's conn may be pooled only if it ended by its own framing, with no byte to spare,
       and neither side asked to close. A surplus byte belongs to no response.
Law 3. FIN ends a response where its framing has it so, unless in the middle of an event, a line or
       a JSON text. It also ends one behind the dialect's own end, whatever the framing. An error
       never does.
Tests: tests/relay/test_complete.py, tests/relay/test_endings.py.
"""

from libc.stddef cimport size_t
from libc.string cimport memchr, memcpy

from zeroproxy._fast.exchange.actions cimport (
    cut,
    end_with,
    feed,
    is_answered,
    lose_attempt,
    retry_idle_notice,
    try_elsewhere,
)
from zeroproxy._fast.exchange.attempt_release cimport drop_hedge
from zeroproxy._fast.exchange.deadlines cimport arm
from zeroproxy._fast.exchange.keepalive cimport is_kept_stream
from zeroproxy._fast.exchange.relay_pool cimport relay_later
from zeroproxy._fast.exchange.response_usage cimport meter_response, meter_tunnel
from zeroproxy._fast.http1.body cimport (
    LAST_CHUNK,
    BodySlice,
    body_begin,
    body_unframe,
    frame_chunk,
    frame_last,
    last_chunk,
)
from zeroproxy._fast.http1.head_parser cimport parse_response_head
from zeroproxy._fast.memory.buffer cimport (
    buffer_append,
    buffer_bytes,
    buffer_clear,
    buffer_consume,
    buffer_len,
)
from zeroproxy._fast.net.conn cimport (
    RECV_EMPTY,
    RECV_FAILED,
    conn_can_accept,
    conn_is_backed_up,
    conn_recv,
    conn_send,
    conn_time_deferred,
)
from zeroproxy._fast.net.tls cimport tls_fault
from zeroproxy._fast.request.body_edits cimport judge_edits, retry_unedited
from zeroproxy._fast.request.digests cimport drop_digests
from zeroproxy._fast.response.count_and_strip cimport ends_inside, note_first, read_data
from zeroproxy._fast.response.downstream_head cimport choose_framing, may_shrink, write_head
from zeroproxy._fast.response.late_head cimport refuse_late_head
from zeroproxy._fast.types.exchange_enums cimport (
    BLAME_DOWNSTREAM,
    CAUSE_CLOSED,
    CAUSE_MALFORMED,
    CAUSE_RESET,
    CAUSE_TLS,
    IN_COMPLETE,
    IN_GONE,
    IN_RESPONSE,
    IN_SWITCHED,
    PHASE_RELAYING,
    PHASE_WAITING,
)
from zeroproxy._fast.types.http cimport (
    FRAMING_CHUNKED,
    FRAMING_CLOSE,
    FRAMING_LENGTH,
    FRAMING_NONE,
    METHOD_HEAD,
    UPGRADE_WEBSOCKET,
    VERDICT_BAD,
    VERDICT_MORE,
    VERDICT_OK,
    Head,
    Verdict,
)
from zeroproxy._fast.types.memory cimport READ_MAX, SLACK
from zeroproxy._fast.types.plane cimport Conn, Plane, Relay
from zeroproxy._fast.upstream.breaker cimport note_status
from zeroproxy._fast.upstream.learned_keepalive cimport keepalive_observe
from zeroproxy._fast.usage.response_meter cimport meter_feed


# ---------------------------------------------------------------- heads


cdef bint is_switch(const Relay *r, const Head *h) noexcept nogil:
    """True for a 101 that names the protocol which this request asked for."""
    return r.x.upgrade == UPGRADE_WEBSOCKET and h.upgrade == UPGRADE_WEBSOCKET


cdef bint forward_interim(Plane *p, Relay *r, Head *h) noexcept nogil:
    """Send 102, 103 and the like on to an HTTP/1.1 caller, but not 100. 0: too many."""
    cdef size_t n
    r.x.interims += 1
    if r.x.interims > r.x.settings.interims:
        return 0
    if h.status == 100 or r.x.minor == 0 or r.x.keepalive.has_head:
        return 1
    n = write_head(p, r, h)
    return n != 0 and conn_send(p, &r.down, p.compose, n)


cdef void begin_response(Plane *p, Relay *r, Head *h) noexcept nogil:
    """Set up the relay of a final response by its head."""
    r.x.status = h.status
    r.x.response_head_ns = p.now_ns
    judge_edits(r, h.status)
    keepalive_observe(r.attempt.endpoint, h)
    if r.x.keepalive.after_ns and not is_kept_stream(r, h):
        r.x.keepalive.after_ns = 0
    meter_response(r, h)
    note_status(r, h.status)
    if not r.x.is_streamed:
        note_first(p, r)
    if may_shrink(r):
        drop_digests(h)
    if not r.x.keepalive.has_head:
        r.x.out_framing = <unsigned char>choose_framing(r, h)
    if r.x.out_framing == FRAMING_LENGTH:
        r.x.keepalive.after_ns = 0
    if not r.x.request_body.done or r.x.out_framing == FRAMING_CLOSE or p.draining:
        r.x.asks_close = 1
    if r.x.upgrade and buffer_len(&r.down.inbuf):
        # Bytes sent ahead of an upgrade that is declined or not passed on: their protocol is
        # unknown.
        r.x.asks_close = 1
    r.attempt.keeps_conn = r.x.request_body.done and not h.asks_close and h.framing != FRAMING_CLOSE
    body_begin(&r.x.response_body, h.framing, h.length)


cdef void count_failure(Relay *r) noexcept nogil:
    # 4xx is the caller's fault and never the endpoint's.
    if r.x.status >= 500:
        r.attempt.endpoint.n_failures += 1


cdef void forward_head(Plane *p, Relay *r, char *body, size_t len) noexcept nogil:
    """Send the final head, in p.response_head, with the `len` bytes of body that came along."""
    cdef Head *h = &p.response_head
    cdef size_t n
    if (h.status == 503 or h.status == 429) and try_elsewhere(p, r):
        return
    if h.status == 408 and h.asks_close and retry_idle_notice(p, r):
        return
    if retry_unedited(p, r, h.status) or refuse_late_head(p, r, h):
        return
    begin_response(p, r, h)
    count_failure(r)
    n = 0 if r.x.keepalive.has_head else write_head(p, r, h)
    if n == 0 and not r.x.keepalive.has_head:
        lose_attempt(p, r, CAUSE_MALFORMED)
        return
    buffer_clear(&r.x.replay, &p.blocks)
    r.x.replayable = 0
    r.x.head_sent = 1
    r.x.n_head = <unsigned int>n
    feed(p, r, IN_RESPONSE)
    relay_body(p, r, body, len)


cdef void switch_protocols(Plane *p, Relay *r, const char *rest, size_t len) noexcept nogil:
    """Pass on a 101 that was requested: from here on bytes both ways."""
    cdef size_t n
    r.x.status = 101
    r.x.out_framing = FRAMING_NONE
    n = write_head(p, r, &p.response_head)
    buffer_clear(&r.x.replay, &p.blocks)
    r.x.replayable = 0
    r.x.head_sent = 1
    r.x.response_head_ns = r.x.last_data_ns = r.x.request_read_ns = p.now_ns
    note_status(r, 101)
    note_first(p, r)
    meter_tunnel(r)
    if n == 0 or not conn_send(p, &r.down, p.compose, n) \
            or (len and not conn_send(p, &r.down, rest, len)):
        end_with(p, r, IN_GONE, BLAME_DOWNSTREAM, CAUSE_RESET)
        return
    if len:
        r.x.bytes_out += len
        meter_feed(&r.x.scan.meter, rest, len)
    feed(p, r, IN_SWITCHED)
    relay_later(p, r)


cdef void take_heads(Plane *p, Relay *r, char *at, size_t len) noexcept nogil:
    """Read response heads out of [at, at + len) until the final one. A partial head is kept in the
    conn's in-buffer. The bytes are in the scratch block."""
    cdef Head *h = &p.response_head
    cdef Verdict v
    while True:
        v = parse_response_head(at, len, &p.limits.response, r.x.method == METHOD_HEAD, h)
        if v == VERDICT_BAD:
            lose_attempt(p, r, CAUSE_MALFORMED)
            return
        if v == VERDICT_MORE:
            if not buffer_append(&r.attempt.conn.inbuf, &p.blocks, at, len):
                lose_attempt(p, r, CAUSE_MALFORMED)
            return
        at += h.consumed
        len -= h.consumed
        if h.status == 101:
            if is_switch(r, h):
                switch_protocols(p, r, at, len)
            else:
                lose_attempt(p, r, CAUSE_MALFORMED)
            return
        if h.status >= 200:
            forward_head(p, r, at, len)
            return
        if not forward_interim(p, r, h):
            lose_attempt(p, r, CAUSE_MALFORMED)
            return


# ---------------------------------------------------------------- bodies


cdef bint deliver(Plane *p, Relay *r, char *at, size_t n) noexcept nogil:
    """Send framed bytes downstream, behind the head if that is still in p.compose."""
    if r.x.n_head == 0:
        return n == 0 or conn_send(p, &r.down, at, n)
    # One read, its rewritten head and our framing fit a block by construction of READ_MAX.
    memcpy(p.compose + r.x.n_head, at, n)
    n += r.x.n_head
    r.x.n_head = 0
    if not conn_send(p, &r.down, p.compose, n):
        return 0
    conn_time_deferred(p, &r.down, &r.x.overhead_ns)
    return 1


cdef void relay_body(Plane *p, Relay *r, char *at, size_t len) noexcept nogil:
    """Pass one read of the response on. `at` lies in the scratch block, SLACK around it and the
    part that was kept back in front."""
    cdef BodySlice c
    cdef size_t before = 0, n
    cdef char *data
    cdef Verdict v = body_unframe(&r.x.response_body, at, len, &c, r.x.settings.extra_bytes)
    data = at + c.data_at
    n = read_data(p, r, &data, c.data_len, v == VERDICT_OK)
    r.x.bytes_out += n
    if r.x.out_framing == FRAMING_CHUNKED:
        if n:
            before = frame_chunk(data, n)
            n += before + 2
            if v == VERDICT_OK:
                n += frame_last(data - before + n)
        elif v == VERDICT_OK:
            data = <char *>last_chunk()
            n = LAST_CHUNK
    if not deliver(p, r, data - before, n):
        end_with(p, r, IN_GONE, BLAME_DOWNSTREAM, CAUSE_RESET)
        return
    if conn_is_backed_up(&r.down):
        # The deadline is now that of a stalled reader, which may be the earlier one.
        arm(p, r)
    if v == VERDICT_BAD:
        cut(p, r, CAUSE_MALFORMED)
    elif v == VERDICT_OK:
        if c.consumed < len:
            r.attempt.keeps_conn = 0
        feed(p, r, IN_COMPLETE)


# ---------------------------------------------------------------- reading


cdef void end_unframed(Plane *p, Relay *r) noexcept nogil:
    """End the answer at a FIN: send the event that was kept back, and the last chunk."""
    cdef char *data = p.scratch + SLACK + buffer_len(&r.x.partial_event)
    cdef size_t before = 0, n = read_data(p, r, &data, 0, 1)
    r.x.bytes_out += n
    if r.x.out_framing == FRAMING_CHUNKED:
        if n:
            before = frame_chunk(data, n)
            n += before + 2
        n += frame_last(data - before + n)
    if n and not deliver(p, r, data - before, n):
        end_with(p, r, IN_GONE, BLAME_DOWNSTREAM, CAUSE_RESET)
    else:
        r.x.response_body.done = 1
        feed(p, r, IN_COMPLETE)


cdef bint ends_well(Relay *r) noexcept nogil:
    """True if the FIN that has come ends the answer."""
    if r.x.response_body.framing == FRAMING_CLOSE:
        return not ends_inside(r)
    if r.x.out_framing == FRAMING_LENGTH or not is_answered(r) or not r.x.scan.meter.at_edge:
        return 0
    r.attempt.endpoint.n_unframed += 1
    return 1


cdef void on_eof(Plane *p, Relay *r, ssize_t n) noexcept nogil:
    """Handle a FIN or a failure from upstream."""
    cdef int why = CAUSE_RESET if n == RECV_FAILED else CAUSE_CLOSED
    if tls_fault(r.attempt.conn):
        why = CAUSE_TLS
    if r.x.phase == PHASE_WAITING:
        lose_attempt(p, r, why)
    elif n == 0 and ends_well(r):
        end_unframed(p, r)
    else:
        cut(p, r, why)


cdef void take_bytes(Plane *p, Relay *r, char *at, size_t n) noexcept nogil:
    cdef Conn *c = r.attempt.conn
    cdef size_t kept
    r.attempt.got_byte = 1
    if r.x.phase == PHASE_RELAYING:
        relay_body(p, r, at, n)
        return
    r.x.last_data_ns = p.now_ns
    drop_hedge(p, r)
    if not buffer_len(&c.inbuf):
        take_heads(p, r, at, n)
        return
    kept = buffer_len(&c.inbuf)
    if not buffer_append(&c.inbuf, &p.blocks, at, n):
        lose_attempt(p, r, CAUSE_MALFORMED)
        return
    if memchr(at, c'\n', n) == NULL and kept + n <= p.limits.response.line_bytes:
        return
    n += kept
    at = p.scratch + SLACK
    memcpy(at, buffer_bytes(&c.inbuf), n)
    buffer_consume(&c.inbuf, &p.blocks, n)
    take_heads(p, r, at, n)


cdef void read_response(Plane *p, Relay *r) noexcept nogil:
    """Read upstream while downstream takes it, within a budget."""
    cdef int budget = 4
    cdef size_t room
    cdef char *at
    cdef ssize_t n
    while (r.x.phase == PHASE_WAITING or r.x.phase == PHASE_RELAYING) and r.attempt.conn.may_read:
        if not conn_can_accept(p, &r.down):
            r.attempt.paused = 1
            return
        if budget == 0:
            relay_later(p, r)
            return
        budget -= 1
        # One of the two is empty; a part that was kept back is put in front of the read.
        room = READ_MAX - buffer_len(&r.attempt.conn.inbuf) - buffer_len(&r.x.partial_event)
        at = p.scratch + SLACK + buffer_len(&r.x.partial_event)
        n = conn_recv(r.attempt.conn, at, room)
        if n == RECV_EMPTY:
            return
        if n <= 0:
            on_eof(p, r, n)
            return
        take_bytes(p, r, at, <size_t>n)
