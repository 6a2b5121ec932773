"""After 101: bytes both ways, no HTTP any more (WebSocket and its kin).

Law 1. Each side is read only while the other takes it.
Law 2. A FIN is passed on once everything before it was; the tunnel ends when both sides have ended.
Law 3. A failure on either side ends both.
Tests: tests/relay/test_tunnel.py.
"""

from zeroproxy._fast.exchange.actions cimport end_with, feed
from zeroproxy._fast.exchange.relay_pool cimport relay_later
from zeroproxy._fast.memory.buffer cimport buffer_bytes, buffer_clear, buffer_len
from zeroproxy._fast.net.conn cimport (
    RECV_EMPTY,
    conn_can_accept,
    conn_is_backed_up,
    conn_recv,
    conn_send,
    conn_shut,
)
from zeroproxy._fast.types.exchange_enums cimport (
    BLAME_DOWNSTREAM,
    BLAME_UPSTREAM,
    CAUSE_RESET,
    IN_COMPLETE,
    IN_GONE,
)
from zeroproxy._fast.types.memory cimport READ_MAX, SLACK
from zeroproxy._fast.types.plane cimport Conn, Plane, Relay
from zeroproxy._fast.usage.response_meter cimport meter_feed

cdef enum:
    DOWN_ENDED = 1
    UP_ENDED = 2
    FAILED = -1
    QUIET = 0
    MORE = 1


cdef int pump(Plane *p, Relay *r, Conn *source, Conn *sink, int ended) noexcept nogil:
    """Move bytes from one side to the other; MORE: the budget ran out first."""
    cdef char *at = p.scratch + SLACK
    cdef int budget = 8
    cdef ssize_t n
    while source.may_read and conn_can_accept(p, sink):
        if budget == 0:
            return MORE
        budget -= 1
        n = conn_recv(source, at, READ_MAX)
        if n == RECV_EMPTY:
            break
        if n < 0:
            return FAILED
        if n == 0:
            r.x.tunnel_ends |= <unsigned char>ended
            break
        if source == &r.down:
            r.x.bytes_in += <size_t>n
            r.x.request_read_ns = p.now_ns
        else:
            r.x.bytes_out += <size_t>n
            r.x.last_data_ns = r.attempt.endpoint.last_data_ns = p.now_ns
            meter_feed(&r.x.scan.meter, at, <size_t>n)
        if not conn_send(p, sink, at, <size_t>n):
            return FAILED
    if r.x.tunnel_ends & ended and conn_can_accept(p, sink):
        conn_shut(p, sink)
    return QUIET


cdef bint pass_early_bytes(Plane *p, Relay *r) noexcept nogil:
    """Send on the bytes behind the caller's request, which were held back until the 101."""
    cdef bint sent = 1
    if buffer_len(&r.down.inbuf):
        sent = conn_send(p, r.attempt.conn, buffer_bytes(&r.down.inbuf), buffer_len(&r.down.inbuf))
        r.x.bytes_in += buffer_len(&r.down.inbuf)
        buffer_clear(&r.down.inbuf, &p.blocks)
    return sent


cdef void pump_tunnel(Plane *p, Relay *r) noexcept nogil:
    cdef int down, up
    if not pass_early_bytes(p, r):
        end_with(p, r, IN_GONE, BLAME_UPSTREAM, CAUSE_RESET)
        return
    down = pump(p, r, &r.down, r.attempt.conn, DOWN_ENDED)
    up = pump(p, r, r.attempt.conn, &r.down, UP_ENDED)
    if down == FAILED or up == FAILED:
        end_with(
            p, r, IN_GONE, BLAME_DOWNSTREAM if r.down.broken else BLAME_UPSTREAM, CAUSE_RESET
        )
    elif r.x.tunnel_ends == (DOWN_ENDED | UP_ENDED) and not conn_is_backed_up(&r.down) \
            and not conn_is_backed_up(r.attempt.conn):
        r.x.asks_close = 1
        feed(p, r, IN_COMPLETE)
    elif down == MORE or up == MORE:
        relay_later(p, r)
