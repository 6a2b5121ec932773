"""Downstream bytes: heads go to the head reader; bodies are unframed, framed again, and passed on.

Law 1. Nothing is read that has nowhere to go. While the request waits for a permit or a conn, its
       body is read only as far as the replay buffer holds it. While upstream is backed up, nothing
       is read.
Law 2. Bytes behind the end of a request belong to the next request. They stay in the conn's
       in-buffer, one block at most, and are not parsed before the exchange has ended.
Law 3. A body that is refused half-way is never completed upstream.
Law 4. A body that has a length, or is scanned, is of no use to a server before its end. If it fits
       the replay buffer, it is read completely before the request asks for a permit or a conn. So
       slow or malformed uploads keep neither from others. A longer body is passed on as it arrives.
Tests: tests/relay/test_whole.py, tests/relay/test_life.py.
"""

from libc.stddef cimport size_t
from libc.string cimport memchr, memcpy

from zeroproxy._fast.exchange.actions cimport end_with
from zeroproxy._fast.exchange.deadlines cimport body_came
from zeroproxy._fast.exchange.local_reply cimport refuse_plain
from zeroproxy._fast.exchange.relay_pool cimport relay_later
from zeroproxy._fast.http1.body cimport BodySlice, body_unframe
from zeroproxy._fast.memory.buffer cimport buffer_append, buffer_bytes, buffer_consume, buffer_len
from zeroproxy._fast.net.conn cimport RECV_EMPTY, RECV_FAILED, conn_can_accept, conn_recv
from zeroproxy._fast.net.tls cimport tls_fault
from zeroproxy._fast.request.authorization cimport fault_too_large
from zeroproxy._fast.request.body_edits cimport pass_body
from zeroproxy._fast.request.head_handler cimport refuse, submit_request, take_head
from zeroproxy._fast.types.exchange_enums cimport (
    BLAME_DOWNSTREAM,
    BLAME_OURSELVES,
    CAUSE_CLOSED,
    CAUSE_MALFORMED,
    CAUSE_OVERLOAD,
    CAUSE_RESET,
    CAUSE_SURFACE,
    IN_GONE,
    IN_REFUSED,
    PHASE_HEAD,
    PHASE_PENDING,
    PHASE_RELAYING,
    PHASE_WAITING,
)
from zeroproxy._fast.types.http cimport (
    FAULT_HEAD_TOO_LARGE,
    FAULT_MEMBER,
    FRAMING_LENGTH,
    UPGRADE_WEBSOCKET,
    VERDICT_BAD,
    VERDICT_OK,
    Verdict,
)
from zeroproxy._fast.types.memory cimport BLOCK_LARGE, READ_MAX, SLACK
from zeroproxy._fast.types.plane cimport Conn, Plane, Relay
from zeroproxy._fast.types.tls cimport TLS_FAULT_PLAIN


# ---------------------------------------------------------------- bodies


cdef inline bint reads_head(const Relay *r) noexcept nogil:
    return r.x.phase <= PHASE_HEAD and not r.x.is_composed


cdef bint wants_body(const Relay *r) noexcept nogil:
    return (
        not r.x.request_body.done and PHASE_HEAD <= r.x.phase <= PHASE_RELAYING
        and not reads_head(r) and r.x.phase != PHASE_PENDING
    )


cdef size_t take_body(Plane *p, Relay *r, char *at, size_t len) noexcept nogil:
    """Pass body bytes on. `at` has SLACK bytes around it. Returns how many bytes were the body's;
    the relay may be in another phase."""
    cdef BodySlice c
    cdef Verdict v = body_unframe(&r.x.request_body, at, len, &c, r.x.settings.extra_bytes)
    r.x.request_read_ns = p.now_ns
    if r.x.settings.body_bytes and r.x.request_body.total > r.x.settings.body_bytes:
        refuse_body(p, r, fault_too_large(r))
        return len
    if v == VERDICT_BAD:
        refuse_body(p, r, r.x.request_body.fault)
        return len
    r.x.bytes_in += c.data_len
    body_came(p, r)
    if not pass_body(p, r, at + c.data_at, c.data_len, v == VERDICT_OK):
        if r.x.fault:
            refuse_body(p, r, r.x.fault)
        else:
            lose_request(p, r)
    return c.consumed


cdef void refuse_body(Plane *p, Relay *r, int fault) noexcept nogil:
    """Refuse the body with an answer; if a response is under way, cut both sides."""
    if r.x.phase == PHASE_RELAYING:
        end_with(
            p, r, IN_GONE, BLAME_DOWNSTREAM,
            CAUSE_SURFACE if fault == FAULT_MEMBER else CAUSE_MALFORMED,
        )
    else:
        refuse(p, r, fault)


cdef void lose_request(Plane *p, Relay *r) noexcept nogil:
    """Upstream takes no more of the request. Its answer may still be on the way: a server that
    refuses an upload answers first, and then closes."""
    if r.attempt.conn != NULL and r.x.phase in (PHASE_WAITING, PHASE_RELAYING):
        r.attempt.conn.may_read = 1
        r.x.down_paused = 1
    else:
        end_with(p, r, IN_REFUSED, BLAME_OURSELVES, CAUSE_OVERLOAD)


cdef size_t body_room(Plane *p, Relay *r) noexcept nogil:
    """Bytes of a body that may be read now; 0 pauses downstream."""
    if r.x.phase == PHASE_WAITING or r.x.phase == PHASE_RELAYING:
        return READ_MAX if conn_can_accept(p, r.attempt.conn) else 0
    if buffer_len(&r.x.replay) + 4096 > BLOCK_LARGE:
        return 0
    # Framing and edits come on top.
    return BLOCK_LARGE - buffer_len(&r.x.replay) - 512


cdef bint waits_for_whole(Plane *p, Relay *r) noexcept nogil:
    """Apply law 4. A caller that expects 100 (Continue) gets it only once a conn is there."""
    cdef size_t room = body_room(p, r)
    if r.x.request_body.done or r.x.owes_continue or r.x.upgrade == UPGRADE_WEBSOCKET or room == 0:
        return 0
    if r.x.request_body.framing == FRAMING_LENGTH:
        return r.x.request_body.left <= room
    return r.x.scans_body or r.x.request_body.total == 0


cdef void submit_whole(Plane *p, Relay *r) noexcept nogil:
    if r.x.phase == PHASE_HEAD and r.x.is_composed and not waits_for_whole(p, r):
        submit_request(p, r)


# ---------------------------------------------------------------- reading


cdef void save(Plane *p, Relay *r, const char *at, size_t n) noexcept nogil:
    if n and not buffer_append(&r.down.inbuf, &p.blocks, at, n):
        refuse(p, r, FAULT_HEAD_TOO_LARGE)


cdef void step_inbuf(Plane *p, Relay *r) noexcept nogil:
    """Use bytes that were received earlier: a partial head that has grown, a pipelined request, or
    body bytes behind one."""
    cdef Conn *c = &r.down
    cdef char *at = p.scratch + SLACK
    cdef size_t n, used, room
    if reads_head(r):
        used = take_head(p, r, buffer_bytes(&c.inbuf), buffer_len(&c.inbuf))
        if used and c.fd >= 0:
            buffer_consume(&c.inbuf, &p.blocks, used)
        submit_whole(p, r)
        return
    room = body_room(p, r)
    n = buffer_len(&c.inbuf)
    if n > room:
        n = room
    if n == 0:
        r.x.down_paused = 1
        return
    memcpy(at, buffer_bytes(&c.inbuf), n)
    used = take_body(p, r, at, n)
    if c.fd >= 0:
        buffer_consume(&c.inbuf, &p.blocks, used)
    submit_whole(p, r)


cdef bint wants_bytes(const Relay *r) noexcept nogil:
    return r.down.fd >= 0 and (reads_head(r) or (wants_body(r) and not r.x.down_paused))


cdef bint is_wanted_later(const Relay *r) noexcept nogil:
    """True for bytes of a head that waits, of a body, or of the next request on a conn that
    stays."""
    return reads_head(r) or not r.x.asks_close or wants_body(r) or r.x.phase == PHASE_PENDING


cdef void take_bytes(Plane *p, Relay *r, char *at, size_t n) noexcept nogil:
    """Use `n` bytes just received into the scratch block; save those that cannot be used yet."""
    cdef size_t used
    while n and wants_bytes(r):
        if reads_head(r):
            used = take_head(p, r, at, n)
            if (
                r.x.is_composed and used < n and not r.x.request_body.done
                and n - used <= body_room(p, r)
            ):
                used += take_body(p, r, at + used, n - used)
            submit_whole(p, r)
        elif n <= body_room(p, r):
            used = take_body(p, r, at, n)
            submit_whole(p, r)
        else:
            # Framing in place overwrites the byte behind the data: pass all of it on, or save it.
            r.x.down_paused = 1
            used = 0
            submit_request(p, r)
        if used == 0:
            break
        at += used
        n -= used
    if n and r.down.fd >= 0 and is_wanted_later(r):
        save(p, r, at, n)


cdef bint may_go_on(const Plane *p, const Relay *r, const char *at, size_t n) noexcept nogil:
    """A partial head is parsed again only when another line has arrived, or it fills the limit. So
    single bytes cost one pass per line, not one per byte. A head that waits for its body is parsed
    again when r.x.routes_at bytes are there."""
    cdef size_t have = buffer_len(&r.down.inbuf)
    if r.x.routes_at:
        return have >= r.x.routes_at
    return memchr(at, c'\n', n) != NULL or have > p.limits.request.line_bytes


cdef void receive(Plane *p, Relay *r) noexcept nogil:
    """One recv and the use of its bytes."""
    cdef char *at = p.scratch + SLACK
    cdef size_t room = READ_MAX
    cdef ssize_t n
    cdef Conn *c = &r.down
    if not reads_head(r):
        room = body_room(p, r)
        if room == 0:
            r.x.down_paused = 1
            return
    elif buffer_len(&c.inbuf):
        room = BLOCK_LARGE - buffer_len(&c.inbuf)
    n = conn_recv(c, at, room)
    if n == RECV_EMPTY:
        return
    if n <= 0:
        on_eof(p, r, n)
    elif buffer_len(&c.inbuf):
        save(p, r, at, <size_t>n)
        r.x.request_read_ns = p.now_ns
        if reads_head(r) and may_go_on(p, r, at, <size_t>n):
            r.x.waits_for_more = 0
    else:
        take_bytes(p, r, at, <size_t>n)


cdef void on_eof(Plane *p, Relay *r, ssize_t n) noexcept nogil:
    """FIN or failure before the end of a head or a body."""
    if tls_fault(&r.down) == TLS_FAULT_PLAIN:
        refuse_plain(p, r.down.fd)
    end_with(p, r, IN_GONE, BLAME_DOWNSTREAM, CAUSE_RESET if n == RECV_FAILED else CAUSE_CLOSED)


cdef void read_request(Plane *p, Relay *r) noexcept nogil:
    """Read within a budget; the run list continues, so that one upload does not starve others."""
    cdef int budget = 8
    while wants_bytes(r) and budget:
        budget -= 1
        if buffer_len(&r.down.inbuf) and not r.x.waits_for_more:
            step_inbuf(p, r)
        elif r.down.may_read:
            receive(p, r)
        else:
            return
    if wants_bytes(r):
        relay_later(p, r)
