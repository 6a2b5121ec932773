"""Downstream bytes: heads are parsed and rewritten, bodies are unframed, framed again, passed on.

Law 1. Nothing is read that has nowhere to go: while the request waits for a permit or a conn its
       body is read only as far as `held` has room; while upstream is backed up, not at all.
Law 2. Bytes behind the end of a request are the next request's: kept in the conn's in-buffer, one
       block at most, and not looked at before the exchange has ended.
Law 3. A body that is refused half-way is never completed upstream.
"""

from libc.stddef cimport size_t
from libc.string cimport memchr, memcmp, memcpy

from zeroproxy._fast.answer cimport dialect_of
from zeroproxy._fast.body cimport Cut, body_begin, body_unframe
from zeroproxy._fast.buffer cimport (
    buffer_append,
    buffer_bytes,
    buffer_consume,
    buffer_len,
)
from zeroproxy._fast.clock cimport clock_wall_ns
from zeroproxy._fast.conn cimport RECV_EMPTY, RECV_FAILED, conn_is_backed_up, conn_recv
from zeroproxy._fast.dispatch cimport end_with, feed
from zeroproxy._fast.editing cimport begin_editing, pass_body
from zeroproxy._fast.headers cimport Hop, find_request_id, write_request_head
from zeroproxy._fast.http1 cimport parse_request_head
from zeroproxy._fast.identity cimport adopt_trace, make_request_id
from zeroproxy._fast.plane cimport Conn, Plane, Relay, Route, Upstream
from zeroproxy._fast.routing cimport ROUTE_MORE, ROUTE_NONE, route_request
from zeroproxy._fast.settle cimport relay_later
from zeroproxy._fast.types cimport (
    BLAME_DOWNSTREAM,
    BLAME_OURSELVES,
    BLOCK_LARGE,
    CAUSE_CLOSED,
    CAUSE_MALFORMED,
    CAUSE_NO_ENDPOINT,
    CAUSE_OVERLOAD,
    CAUSE_REFUSED,
    CAUSE_RESET,
    CAUSE_TOO_LARGE,
    FAULT_BODY_TOO_LARGE,
    FAULT_HEAD_TOO_LARGE,
    FAULT_LINE_TOO_LONG,
    FAULT_METHOD_REFUSED,
    FAULT_MODEL,
    FAULT_TOO_MANY_FIELDS,
    FRAMING_LENGTH,
    IN_BYTES,
    IN_GONE,
    IN_REFUSED,
    IN_REQUEST,
    METHOD_GET,
    PHASE_HEAD,
    PHASE_IDLE,
    PHASE_QUEUED,
    PHASE_RELAYING,
    PHASE_WAITING,
    READ_MAX,
    SLACK,
    Head,
    Span,
    Verdict,
    VERDICT_BAD,
    VERDICT_MORE,
    VERDICT_OK,
)


# ---------------------------------------------------------------- heads


cdef void refuse(Plane *p, Relay *r, int fault) noexcept nogil:
    """A request we do not serve: say why, then close. What follows on the conn is never parsed."""
    cdef int why = CAUSE_MALFORMED
    if fault == FAULT_METHOD_REFUSED or fault == FAULT_MODEL:
        why = CAUSE_REFUSED
    elif fault in (
        FAULT_BODY_TOO_LARGE, FAULT_HEAD_TOO_LARGE, FAULT_LINE_TOO_LONG, FAULT_TOO_MANY_FIELDS
    ):
        why = CAUSE_TOO_LARGE
    r.fault = <unsigned char>fault
    r.asks_close = 1
    end_with(p, r, IN_REFUSED, BLAME_DOWNSTREAM, why)


cdef void adopt_head(Plane *p, Relay *r, const Head *h) noexcept nogil:
    """What the exchange must remember of a head whose bytes are about to go away."""
    cdef Span id = find_request_id(h)
    cdef const char *path = h.base + h.target_at
    cdef size_t n = h.target_len
    cdef const char *query = <const char *>memchr(path, c'?', n)
    if query != NULL:
        n = <size_t>(query - path)
    r.method = h.method
    r.minor = h.minor
    r.asks_close = h.asks_close
    r.asks_upgrade = h.asks_upgrade
    r.owes_continue = h.asks_continue and not r.said_continue
    r.replayable = 1
    r.dialect = <unsigned char>dialect_of(path, n)
    r.path_len = <unsigned char>(n if n < sizeof(r.path) else sizeof(r.path))
    memcpy(r.path, path, r.path_len)
    if 0 < id.len <= sizeof(r.request_id):
        r.id_len = <unsigned char>id.len
        memcpy(r.request_id, id.at, id.len)
    body_begin(&r.ask, h.framing, h.length)


cdef bint compose_request(Plane *p, Relay *r, Head *h) noexcept nogil:
    """Write the head as it travels on into `held`. 0: it does not fit, or no memory."""
    cdef Hop hop
    cdef char[64] trace
    cdef size_t n
    hop.peer.at = r.peer
    hop.peer.len = r.peer_len
    hop.proto.at = b"http"
    hop.proto.len = 4
    hop.authority.at = r.upstream.endpoints[0].authority
    hop.authority.len = r.upstream.endpoints[0].authority_len
    hop.request_id.at = r.request_id
    hop.request_id.len = r.id_len
    hop.traceparent.at = trace
    hop.traceparent.len = adopt_trace(p, r, h, trace)
    hop.adds_via = p.adds_via
    hop.trusts_forwarded = p.trusts_forwarded
    hop.framing = h.framing
    hop.length = h.length + r.reserve
    n = write_request_head(h, &hop, p.compose, BLOCK_LARGE)
    return n != 0 and buffer_append(&r.held, &p.blocks, p.compose, n)


cdef void agree_on_terms(const Plane *p, Relay *r) noexcept nogil:
    r.terms.body_bytes = p.limits.body_bytes
    r.terms.body_ns = p.limits.body_ns
    r.terms.stall_ns = p.limits.stall_ns
    r.terms.tunnel_ns = p.limits.tunnel_ns
    r.terms.extra_bytes = p.limits.extra_bytes
    r.terms.interims = p.limits.interims


cdef void choose_upstream(Plane *p, Relay *r, int index) noexcept nogil:
    """Its patience is part of the terms."""
    cdef Upstream *u = p.upstreams[index]
    r.upstream = u
    r.terms.queue_ns = u.queue_ns
    r.terms.connect_ns = u.connect_ns
    r.terms.first_byte_ns = u.first_byte_ns
    r.terms.stream_idle_ns = u.stream_idle_ns
    r.terms.total_ns = u.total_ns
    r.terms.attempts = u.attempts
    r.terms.retry_on_busy = u.retry_on_busy


cdef void begin_exchange(Plane *p, Relay *r) noexcept nogil:
    if r.phase == PHASE_IDLE:
        r.began_ns = p.now_ns
        r.began_wall_ns = clock_wall_ns()
        agree_on_terms(p, r)
        r.id_len = <unsigned char>make_request_id(p, r.request_id)
        feed(p, r, IN_BYTES)


cdef bint is_models_request(const Plane *p, const Relay *r) noexcept nogil:
    """The list of models, where several upstreams make it up."""
    return p.models != NULL and r.method == METHOD_GET and r.path_len == 10 \
        and memcmp(r.path, b"/v1/models", 10) == 0 and r.ask.done


cdef bint direct(Plane *p, Relay *r, Head *h, size_t here) noexcept nogil:
    """Compose the request for its upstream, or say why it goes nowhere. 0: the model it names is
    still to come."""
    cdef const Route *route
    cdef int to = route_request(p, r, h, here, &route)
    if to == ROUTE_MORE:
        r.waits_for_more = 1
        return 0
    if to == ROUTE_NONE:
        refuse(p, r, FAULT_MODEL)
    elif p.n_upstreams == 0 or p.upstreams[to].n_endpoints == 0:
        end_with(p, r, IN_REFUSED, BLAME_OURSELVES, CAUSE_NO_ENDPOINT)
    else:
        choose_upstream(p, r, to)
        begin_editing(p, r, h, here, route)
        r.is_composed = compose_request(p, r, h)
        if not r.is_composed:
            refuse(p, r, FAULT_HEAD_TOO_LARGE)
    return 1


cdef size_t take_head(Plane *p, Relay *r, const char *at, size_t len) noexcept nogil:
    """Try to read a head; returns how many bytes it took (0: more are needed). A good one is
    composed, not yet launched: what came along of its body is to leave with it in one send."""
    cdef Head *h = &p.ask
    cdef Verdict v
    begin_exchange(p, r)
    v = parse_request_head(at, len, &p.limits.request, h)
    r.waits_for_more = v == VERDICT_MORE
    if v == VERDICT_MORE:
        return 0
    if v == VERDICT_BAD:
        # The caller's method decides whether the answer may carry a body.
        r.method = h.method
        refuse(p, r, h.fault)
        return len
    adopt_head(p, r, h)
    if h.max_forwards == 0:
        refuse(p, r, FAULT_METHOD_REFUSED)
    elif h.framing == FRAMING_LENGTH and r.terms.body_bytes and h.length > r.terms.body_bytes:
        refuse(p, r, FAULT_BODY_TOO_LARGE)
    elif is_models_request(p, r):
        r.is_models = 1
        feed(p, r, IN_REFUSED)
    elif not direct(p, r, h, len - h.consumed):
        return 0
    return h.consumed


cdef void launch(Plane *p, Relay *r) noexcept nogil:
    """The head is in `held`, with what came along of the body: ask for a permit."""
    if r.is_composed and r.phase == PHASE_HEAD:
        r.is_composed = 0
        r.asked_ns = p.now_ns
        feed(p, r, IN_REQUEST)


# ---------------------------------------------------------------- bodies


cdef bint wants_body(const Relay *r) noexcept nogil:
    return not r.ask.done and PHASE_QUEUED <= r.phase <= PHASE_RELAYING


cdef size_t take_body(Plane *p, Relay *r, char *at, size_t len) noexcept nogil:
    """Pass body bytes on. `at` has SLACK bytes around it. Returns how many bytes were the body's;
    the relay may have moved on."""
    cdef Cut c
    cdef Verdict v = body_unframe(&r.ask, at, len, &c, r.terms.extra_bytes)
    r.asked_ns = p.now_ns
    if r.terms.body_bytes and r.ask.total > r.terms.body_bytes:
        refuse_body(p, r, FAULT_BODY_TOO_LARGE)
        return len
    if v == VERDICT_BAD:
        refuse_body(p, r, r.ask.fault)
        return len
    r.bytes_in += c.data_len
    if not pass_body(p, r, at + c.data_at, c.data_len, v == VERDICT_OK):
        lose_request(p, r)
    return c.consumed


cdef void refuse_body(Plane *p, Relay *r, int fault) noexcept nogil:
    """The body is wrong: answer if that is still possible, else break off both sides."""
    if r.phase == PHASE_RELAYING:
        end_with(p, r, IN_GONE, BLAME_DOWNSTREAM, CAUSE_MALFORMED)
    else:
        refuse(p, r, fault)


cdef void lose_request(Plane *p, Relay *r) noexcept nogil:
    """Upstream does not take the request any more. While its answer may still be on the way it is
    waited for: a server that refuses an upload answers first and then closes."""
    if r.up != NULL and r.phase in (PHASE_WAITING, PHASE_RELAYING):
        r.up.may_read = 1
        r.down_paused = 1
    else:
        end_with(p, r, IN_REFUSED, BLAME_OURSELVES, CAUSE_OVERLOAD)


cdef size_t body_room(Plane *p, Relay *r) noexcept nogil:
    """How many bytes of body may be read now; 0 pauses downstream."""
    if r.phase == PHASE_WAITING or r.phase == PHASE_RELAYING:
        return 0 if conn_is_backed_up(r.up) else READ_MAX
    if buffer_len(&r.held) + 4096 > BLOCK_LARGE:
        return 0
    # Framing and edits come on top.
    return BLOCK_LARGE - buffer_len(&r.held) - 512


# ---------------------------------------------------------------- reading


cdef void save(Plane *p, Relay *r, const char *at, size_t n) noexcept nogil:
    if n and not buffer_append(&r.down.inbuf, &p.blocks, at, n):
        refuse(p, r, FAULT_HEAD_TOO_LARGE)


cdef void step_inbuf(Plane *p, Relay *r) noexcept nogil:
    """Use bytes that were received earlier: a partial head that has grown, a pipelined request, or
    the part of a body that came along with it."""
    cdef Conn *c = &r.down
    cdef char *at = p.scratch + SLACK
    cdef size_t n, used, room
    if r.phase <= PHASE_HEAD:
        used = take_head(p, r, buffer_bytes(&c.inbuf), buffer_len(&c.inbuf))
        if used and c.fd >= 0:
            buffer_consume(&c.inbuf, &p.blocks, used)
        launch(p, r)
        return
    room = body_room(p, r)
    n = buffer_len(&c.inbuf)
    if n > room:
        n = room
    if n == 0:
        r.down_paused = 1
        return
    memcpy(at, buffer_bytes(&c.inbuf), n)
    used = take_body(p, r, at, n)
    if c.fd >= 0:
        buffer_consume(&c.inbuf, &p.blocks, used)


cdef bint wants_bytes(const Relay *r) noexcept nogil:
    return r.down.fd >= 0 and (r.phase <= PHASE_HEAD or (wants_body(r) and not r.down_paused))


cdef bint is_wanted_later(const Relay *r) noexcept nogil:
    """What cannot be used now: the rest of a body, or the next request on a conn that stays."""
    return not r.asks_close or wants_body(r)


cdef void take_bytes(Plane *p, Relay *r, char *at, size_t n) noexcept nogil:
    """Use `n` bytes just received into the scratch block; what cannot be used yet is saved."""
    cdef size_t used
    while n and wants_bytes(r):
        if r.phase <= PHASE_HEAD:
            used = take_head(p, r, at, n)
            if r.is_composed and used < n and not r.ask.done and n - used <= body_room(p, r):
                used += take_body(p, r, at + used, n - used)
            launch(p, r)
        elif n <= body_room(p, r):
            used = take_body(p, r, at, n)
        else:
            # Framing is written in place, over the byte behind the data: all of it, or a copy.
            r.down_paused = 1
            used = 0
        if used == 0:
            break
        at += used
        n -= used
    if n and r.down.fd >= 0 and is_wanted_later(r):
        save(p, r, at, n)


cdef bint may_go_on(const Plane *p, const Relay *r, const char *at, size_t n) noexcept nogil:
    """A partial head is parsed again only when another line has arrived (or it fills the limit):
    so a caller who sends single bytes costs one pass per line, not one per byte. One that waits
    for its model: when the begin of the body has doubled."""
    cdef size_t have = buffer_len(&r.down.inbuf)
    if r.routes_at:
        return have >= r.routes_at
    return memchr(at, c'\n', n) != NULL or have > p.limits.request.line_bytes


cdef void receive(Plane *p, Relay *r) noexcept nogil:
    """One recv and what follows from it."""
    cdef char *at = p.scratch + SLACK
    cdef size_t room = READ_MAX
    cdef ssize_t n
    cdef Conn *c = &r.down
    if r.phase > PHASE_HEAD:
        room = body_room(p, r)
        if room == 0:
            r.down_paused = 1
            return
    elif buffer_len(&c.inbuf):
        room = BLOCK_LARGE - buffer_len(&c.inbuf)
    n = conn_recv(c, at, room)
    if n == RECV_EMPTY:
        return
    if n <= 0:
        hear_end(p, r, n)
    elif buffer_len(&c.inbuf):
        save(p, r, at, <size_t>n)
        if r.phase <= PHASE_HEAD and may_go_on(p, r, at, <size_t>n):
            r.waits_for_more = 0
    else:
        take_bytes(p, r, at, <size_t>n)


cdef void hear_end(Plane *p, Relay *r, ssize_t n) noexcept nogil:
    """FIN or failure where a head or a body was to come."""
    end_with(p, r, IN_GONE, BLAME_DOWNSTREAM, CAUSE_RESET if n == RECV_FAILED else CAUSE_CLOSED)


cdef void read_request(Plane *p, Relay *r) noexcept nogil:
    """Read downstream while the exchange has use for it, within a budget: the rest waits for the
    run list, so that one upload does not starve its neighbours."""
    cdef int budget = 8
    while wants_bytes(r) and budget:
        budget -= 1
        if buffer_len(&r.down.inbuf) and not r.waits_for_more:
            step_inbuf(p, r)
        elif r.down.may_read:
            receive(p, r)
        else:
            return
    if wants_bytes(r):
        relay_later(p, r)
