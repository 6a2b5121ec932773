"""Comments that keep a silent event stream alive: callers and balancers give up on silence.

Law 1. Only a POST that asks for a stream in a dialect of events gets comments, and only between two
       events. Without them the bytes are the same (a BOM at the start of a late stream is dropped).
Law 2. Before the engine's head the proxy sends one of its own. From then on the status is 200, but
       attempts are as free as before: `head_sent` is set by the engine's head. One that does not
       fit is a failure. A failure becomes the dialect's error event, and the end looks cut.
Law 3. A comment is no output of the engine. It moves no clock but `keepalive.last_ns`, and is no
       byte of the response. Bytes of a server break the silence, and so do its own comments.
Law 4. A request that is not read to its end gets no early head: its caller may stop sending.
Law 5. Off, it costs one look per request and per deadline. On, a timer that is due costs no event
       anything (deadlines.pyx, law 1).
Tests: tests/relay/test_keepalive.py, tests/relay/test_late_head.py,
       tests/relay/test_keepalive_golden.py, tests/e2e/test_keepalive.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint16_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy

from zeroproxy._fast.exchange.date_field cimport date_now
from zeroproxy._fast.exchange.error_body cimport DIALECT_OLLAMA, DIALECT_WORKER, write_cut_event
from zeroproxy._fast.exchange.outcome_names cimport outcome_status
from zeroproxy._fast.exchange.path_kinds cimport ends_with, is_generating
from zeroproxy._fast.exchange.response_usage cimport asks_stream, begin_response_meter, kind_of_type
from zeroproxy._fast.exchange.sdk_fields cimport caller_patience
from zeroproxy._fast.http1.body cimport frame_chunk
from zeroproxy._fast.http1.field_lines cimport has_field
from zeroproxy._fast.net.conn cimport conn_is_backed_up, conn_send
from zeroproxy._fast.types.clock cimport NS_PER_S
from zeroproxy._fast.types.exchange_enums cimport PHASE_QUEUED, PHASE_RELAYING
from zeroproxy._fast.types.exchange_limits cimport KEEPALIVE_AUTO
from zeroproxy._fast.types.http cimport (
    FIELD_CONTENT_ENCODING,
    FIELD_CONTENT_TYPE,
    FRAMING_CHUNKED,
    FRAMING_CLOSE,
    METHOD_POST,
    UPGRADE_NONE,
    Field,
    Head,
    Span,
)
from zeroproxy._fast.types.memory cimport BLOCK_LARGE, SLACK
from zeroproxy._fast.types.plane cimport Plane, Relay
from zeroproxy._fast.usage.response_meter cimport KIND_EVENTS

cdef enum:
    COMMENT_LEN = 14
    # Of a caller's read timeout: time for two comments, and a third that is late.
    SHARE = 3

# The least silence that a caller's timeout leads to: less would be noise for many streams.
cdef uint64_t AUTO_LEAST_NS = 5 * <uint64_t>NS_PER_S

# The words of vLLM's own.
cdef const char *COMMENT = b": keep-alive\n\n"

# ---------------------------------------------------------------- the silence


cdef uint64_t share_of_timeout(const Head *h) noexcept nogil:
    cdef uint64_t ns = caller_patience(h) // SHARE
    return max(ns, AUTO_LEAST_NS) if ns else 0


cdef void choose_keepalive(const Plane *p, Relay *r, const Head *h) noexcept nogil:
    r.x.keepalive.after_ns = 0
    if h.method != METHOD_POST or h.upgrade != UPGRADE_NONE \
            or r.x.dialect == DIALECT_OLLAMA or r.x.dialect == DIALECT_WORKER \
            or not is_generating(r.x.path, r.x.path_len):
        return
    r.x.keepalive.after_ns = p.keepalive_ns
    if p.keepalive_ns == KEEPALIVE_AUTO:
        r.x.keepalive.after_ns = share_of_timeout(h)


cdef bint streams(const Relay *r) noexcept nogil:
    """Return 1 if the request asks for events, as far as its body is read."""
    return asks_stream(r) or ends_with(r.x.path, r.x.path_len, b"/generate_stream", 16)


cdef uint64_t silent_since(const Relay *r) noexcept nogil:
    """The last byte downstream, comments left out, or the end of the request."""
    if r.x.phase == PHASE_RELAYING:
        # The engine's head was no byte for the caller if it had ours.
        return 0 if r.x.keepalive.has_head and r.x.response_body.total == 0 else r.x.last_data_ns
    # A request that is held was here as a whole when it was queued.
    return r.x.queued_ns if r.x.replayable else r.x.request_read_ns


cdef uint64_t keepalive_due(const Relay *r) noexcept nogil:
    if r.x.keepalive.after_ns == 0 or not PHASE_QUEUED <= r.x.phase <= PHASE_RELAYING:
        return 0
    if r.x.phase != PHASE_RELAYING and not (r.x.request_body.done and streams(r)):
        return 0
    return max(silent_since(r), r.x.keepalive.last_ns) + r.x.keepalive.after_ns

# ---------------------------------------------------------------- comments


cdef bint is_between_events(const Relay *r) noexcept nogil:
    """An LF behind a CR may still belong to the last event. Behind the stream's own end nobody
    waits."""
    return (
        r.x.scan.meter.kind == KIND_EVENTS and r.x.scan.meter.at_edge
        and not r.x.scan.meter.had_cr and not r.x.scan.meter.is_ended
    )


cdef size_t write_early_head(Plane *p, Relay *r) noexcept nogil:
    """Write the head of a stream to plane.compose; returns its length."""
    cdef Span date = date_now(p)
    r.x.out_framing = <unsigned char>(FRAMING_CHUNKED if r.x.minor else FRAMING_CLOSE)
    if p.draining or r.x.out_framing == FRAMING_CLOSE:
        r.x.asks_close = 1
    r.x.keepalive.has_head = 1
    p.counters.early_heads += 1
    return <size_t>snprintf(
        p.compose, BLOCK_LARGE,
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
        b"X-Accel-Buffering: no\r\n%s%.*sX-Request-Id: %.*s\r\nDate: %.*s\r\n%s\r\n",
        <const char *>b"Transfer-Encoding: chunked\r\n" if r.x.minor else <const char *>b"",
        <int>(r.x.cors.len if r.x.cors != NULL else 0),
        <const char *>b"" if r.x.cors == NULL else r.x.cors.at,
        <int>r.x.id_len, r.x.request_id, <int>date.len, date.at,
        <const char *>b"Connection: close\r\n" if r.x.asks_close else <const char *>b"",
    )


cdef size_t frame_event(const Relay *r, char **at, size_t n) noexcept nogil:
    """Frame an event in place, with SLACK around it; returns its length at `at`."""
    cdef size_t before
    if r.x.out_framing != FRAMING_CHUNKED:
        return n
    before = frame_chunk(at[0], n)
    at[0] -= before
    return before + n + 2


cdef bint keep_alive(Plane *p, Relay *r) noexcept nogil:
    cdef char *at = p.scratch + SLACK
    cdef size_t n = COMMENT_LEN, head = 0
    r.x.keepalive.last_ns = p.now_ns
    if conn_is_backed_up(&r.down):
        return 1
    if r.x.phase != PHASE_RELAYING:
        if not r.x.keepalive.has_head:
            head = write_early_head(p, r)
    elif not is_between_events(r):
        return 1
    r.x.keepalive.has_comment = 1
    p.counters.comments += 1
    memcpy(at, COMMENT, COMMENT_LEN)
    n = frame_event(r, &at, n)
    memcpy(p.compose + head, at, n)
    return conn_send(p, &r.down, p.compose, head + n)

# ---------------------------------------------------------------- the engine's head, or its failure


cdef bint is_kept_stream(const Relay *r, const Head *h) noexcept nogil:
    cdef const Field *f
    cdef int i
    if h.status != 200 or has_field(h, FIELD_CONTENT_ENCODING) or not streams(r):
        return 0
    for i in range(h.n_fields):
        f = &h.fields[i]
        if f.id == FIELD_CONTENT_TYPE:
            return kind_of_type(h.base + f.value_at, f.value_len) == KIND_EVENTS
    return 0


cdef bint send_late_error(Plane *p, Relay *r) noexcept nogil:
    cdef char *at = p.scratch + SLACK
    cdef size_t n
    begin_response_meter(r, KIND_EVENTS)
    r.x.asks_close = 1
    n = write_cut_event(r, at, 1024)
    if r.x.status == 0:
        # Not that of the engine.
        r.x.status = <uint16_t>outcome_status(r.x.blame, r.x.cause)
    n = frame_event(r, &at, n)
    return conn_send(p, &r.down, at, n)
