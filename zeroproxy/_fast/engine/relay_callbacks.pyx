"""Callbacks of a relay: its conn is ready, its deadline has passed, or it is on the run list.

Law 1. run_relay checks both conns and does everything that can be done now. A call is allowed at
       any time, and a second one in a row does no harm.
Law 2. Writes come before reads: bytes in memory are sent before more are read.
Law 3. A caller that leaves is noticed without a read: epoll reports FIN and RST.
Tests: tests/relay/test_endings.py, tests/relay/test_half_close.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

from zeroproxy._fast.exchange.actions cimport (
    connect_waiting,
    cut,
    end_with,
    feed,
    flush_more,
    is_answered,
    lose_attempt,
)
from zeroproxy._fast.exchange.attempt_release cimport wake_waiting
from zeroproxy._fast.exchange.deadlines cimport arm, body_is_late, deadline, hedge_due
from zeroproxy._fast.exchange.hedge cimport hedge, hedge_ready
from zeroproxy._fast.exchange.hold cimport hold_is_waiting
from zeroproxy._fast.exchange.keepalive cimport keep_alive, keepalive_due
from zeroproxy._fast.exchange.permits cimport refuse_place
from zeroproxy._fast.exchange.relay_pool cimport rate_begin, relay_later
from zeroproxy._fast.memory.prefetch cimport prefetch_part
from zeroproxy._fast.net.conn cimport (
    CONNECT_MORE,
    RECV_EMPTY,
    conn_finish_connect,
    conn_flush,
    conn_flush_all_deferred,
    conn_install,
    conn_is_backed_up,
    conn_on_events,
    conn_recv,
    conn_shut,
)
from zeroproxy._fast.net.tls cimport tls_fault, tls_is_shaking
from zeroproxy._fast.request.reader cimport read_request
from zeroproxy._fast.response.reader cimport read_response
from zeroproxy._fast.response.tunnel cimport pump_tunnel
from zeroproxy._fast.types.exchange_enums cimport (
    BLAME_DOWNSTREAM,
    BLAME_OURSELVES,
    BLAME_UPSTREAM,
    CAUSE_CLOSED,
    CAUSE_DRAINED,
    CAUSE_NO_ENDPOINT,
    CAUSE_OVERLOAD,
    CAUSE_REFUSED,
    CAUSE_RESET,
    CAUSE_TIMEOUT,
    CAUSE_TLS,
    DRAIN_ENDS,
    DRAIN_SETTLES,
    IN_CONNECTED,
    IN_CUT,
    IN_DRAINED,
    IN_GONE,
    IN_PERMIT,
    IN_REFUSED,
    IN_VERDICT,
    PHASE_CLOSED,
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
from zeroproxy._fast.types.memory cimport READ_MAX, SLACK
from zeroproxy._fast.types.meter cimport Meter
from zeroproxy._fast.types.network cimport PROXY_FAULT_LATE
from zeroproxy._fast.types.plane cimport Conn, Plane, Relay, Upstream
from zeroproxy._fast.upstream.prewarm cimport unowned_due, unowned_ready


# ---------------------------------------------------------------- serve a relay


cdef bint has_all(const Relay *r) noexcept nogil:
    """Return 1 if the answer was sent to the end of its dialect. Many clients close at [DONE] and
    do not wait for the last chunk."""
    return r.x.phase == PHASE_RELAYING and is_answered(r) \
        and not conn_is_backed_up(&r.down) and not r.down.deferred


cdef bint caller_left(Plane *p, Relay *r) noexcept nogil:
    """FIN while a response is owed is an abort: it frees the GPU, unless server.half_close is
    "serve". (The reader finds a FIN before the end of the request.) In a tunnel a FIN ends one
    direction, an error both."""
    cdef bint is_left = r.down.saw_fin and not r.x.settings.serves_half_close
    if has_all(r) and (r.down.broken or is_left):
        r.x.was_served = 1
        feed(p, r, IN_GONE)
        return 1
    if r.down.broken and r.x.phase != PHASE_CLOSED:
        end_with(p, r, IN_GONE, BLAME_DOWNSTREAM, CAUSE_RESET)
        return 1
    if is_left and PHASE_PENDING <= r.x.phase <= PHASE_RELAYING:
        end_with(p, r, IN_GONE, BLAME_DOWNSTREAM, CAUSE_CLOSED)
        return 1
    return 0


cdef void write_both(Plane *p, Relay *r) noexcept nogil:
    """Drain the out-buffers; a side that was paused because of them is read again."""
    cdef Conn *up = r.attempt.conn
    if conn_is_backed_up(&r.down) and conn_flush(p, &r.down) and r.attempt.paused:
        r.attempt.paused = 0
        r.x.last_data_ns = r.attempt.endpoint.last_data_ns = p.now_ns
    if up != NULL and conn_is_backed_up(up) and conn_flush(p, up):
        r.x.down_paused = 0
        r.x.request_read_ns = p.now_ns
        rate_begin(p, r)


cdef void linger(Plane *p, Relay *r) noexcept nogil:
    """Drop bytes that still arrive until the caller has read the answer and closed."""
    cdef int budget = 16
    cdef ssize_t n
    conn_shut(p, &r.down)
    while r.down.may_read:
        if budget == 0:
            relay_later(p, r)
            return
        budget -= 1
        n = conn_recv(&r.down, p.scratch + SLACK, READ_MAX)
        if n == RECV_EMPTY:
            return
        if n <= 0:
            feed(p, r, IN_DRAINED)
            return


cdef void run_relay(Plane *p, Relay *r) noexcept nogil:
    # First: a caller that has left never touches an endpoint, with a permit or without.
    if r.x.phase == PHASE_CLOSED or caller_left(p, r):
        return
    if r.x.phase == PHASE_QUEUED and r.x.holds_permit:
        feed(p, r, IN_PERMIT)
        if r.x.phase == PHASE_CLOSED:
            return
    elif r.x.phase == PHASE_QUEUED and not r.x.is_queued and not r.x.terms.waits_place:
        # Another relay has its place; the blame was noted then.
        feed(p, r, IN_REFUSED)
        return
    elif r.x.phase == PHASE_PENDING and r.x.question == NULL:
        r.x.waits_for_more = 0
        feed(p, r, IN_VERDICT)
    elif r.x.phase == PHASE_CONNECTING and r.x.waits_conn:
        connect_waiting(p, r)
        if r.x.phase == PHASE_CLOSED:
            return
    write_both(p, r)
    if r.x.phase == PHASE_FLUSHING:
        flush_more(p, r)
    elif r.x.phase == PHASE_TUNNEL:
        pump_tunnel(p, r)
    elif r.x.phase == PHASE_LINGERING:
        linger(p, r)
    else:
        read_request(p, r)
        if r.attempt.conn != NULL:
            read_response(p, r)
    if r.live:
        arm(p, r)


# ---------------------------------------------------------------- ready


cdef void on_downstream(void *plane, void *owner, uint32_t events) noexcept nogil:
    cdef Relay *r = <Relay *>owner
    if tls_is_shaking(&r.down):
        # A signature takes as long as many events.
        conn_flush_all_deferred(<Plane *>plane)
    conn_on_events(&r.down, events)
    run_relay(<Plane *>plane, r)


cdef void on_upstream(void *plane, void *owner, uint32_t events) noexcept nogil:
    cdef Plane *p = <Plane *>plane
    cdef Conn *c = <Conn *>owner
    cdef Relay *r = <Relay *>c.owner
    cdef Upstream *u
    cdef int failure
    conn_on_events(c, events)
    if r == NULL:
        u = c.endpoint.upstream
        unowned_ready(p, c)
        wake_waiting(p, u)
        return
    if c != r.attempt.conn:
        hedge_ready(p, r, c)
        if c != r.attempt.conn:
            return
    if c.connecting:
        failure = conn_finish_connect(c)
        if failure == CONNECT_MORE:
            return
        if failure:
            lose_attempt(p, r, CAUSE_TLS if tls_fault(c) else CAUSE_REFUSED)
            return
        feed(p, r, IN_CONNECTED)
    if r.x.phase == PHASE_RELAYING and not conn_is_backed_up(c):
        # The usual case by far: another event of a response.
        read_response(p, r)
    else:
        run_relay(p, r)


cdef void on_soon(void *plane, void *owner) noexcept nogil:
    """A conn is served next: fetch what an event of a stream touches. (A relay begins with its
    downstream conn, and owns both.)"""
    cdef Relay *r = <Relay *>(<Conn *>owner).owner
    cdef char *base = <char *>r
    cdef Meter *m
    if r == NULL:
        return
    m = &r.x.scan.meter
    prefetch_part(r, 0, 1)
    prefetch_part(
        r, <size_t>(<char *>&r.attempt.got_byte - base),
        <size_t>(<char *>&r.x.settings.interims - base),
    )
    prefetch_part(r, <size_t>(<char *>m - base), <size_t>(<char *>&m.name - base))


cdef void on_unsent(void *plane, void *owner, uint32_t events) noexcept nogil:
    """A deferred send found the conn full or broken; for a hedge epoll reports that as well."""
    cdef Conn *c = <Conn *>owner
    cdef Relay *r = <Relay *>c.owner
    if r == NULL or (c.is_upstream and c != r.attempt.conn):
        return
    if c.is_upstream and c.broken:
        # It may have answered before it closed.
        c.may_read = 1
    relay_later(<Plane *>plane, r)


# ---------------------------------------------------------------- due


cdef void expire(Plane *p, Relay *r) noexcept nogil:
    """The deadline of the phase has passed."""
    cdef int phase = r.x.phase
    if phase == PHASE_HEAD:
        end_with(p, r, IN_REFUSED, BLAME_DOWNSTREAM, CAUSE_TIMEOUT)
    elif hold_is_waiting(r):
        end_with(p, r, IN_REFUSED, BLAME_UPSTREAM, CAUSE_NO_ENDPOINT)
    elif phase == PHASE_QUEUED and r.x.terms.waits_place:
        feed(p, r, refuse_place(r))
    elif phase == PHASE_PENDING or phase == PHASE_QUEUED \
            or (phase == PHASE_CONNECTING and r.x.waits_conn):
        end_with(p, r, IN_REFUSED, BLAME_OURSELVES, CAUSE_OVERLOAD)
    elif phase == PHASE_CONNECTING:
        lose_attempt(p, r, CAUSE_TIMEOUT)
    elif phase == PHASE_WAITING:
        if r.x.request_body.done or conn_is_backed_up(r.attempt.conn):
            lose_attempt(p, r, CAUSE_TIMEOUT)
        else:
            end_with(p, r, IN_REFUSED, BLAME_DOWNSTREAM, CAUSE_TIMEOUT)
    elif phase == PHASE_RELAYING and not conn_is_backed_up(&r.down) and not body_is_late(p, r):
        cut(p, r, CAUSE_TIMEOUT)
    elif phase == PHASE_LINGERING:
        feed(p, r, IN_DRAINED)
    else:
        p.n_proxy_refused[<int>PROXY_FAULT_LATE] += r.awaits_proxy
        end_with(p, r, IN_GONE, BLAME_DOWNSTREAM, CAUSE_TIMEOUT)


cdef void on_relay_due(void *plane, void *owner) noexcept nogil:
    cdef Plane *p = <Plane *>plane
    cdef Relay *r = <Relay *>owner
    cdef uint64_t due = hedge_due(r)
    if due and p.now_ns >= due:
        hedge(p, r)
    due = deadline(p, r)
    if due and p.now_ns >= due:
        if r.x.phase == PHASE_HEAD or r.x.phase == PHASE_PENDING:
            r.x.asks_close = 1
        expire(p, r)
    if r.live and r.x.keepalive.after_ns:
        due = keepalive_due(r)
        if due and p.now_ns >= due and not keep_alive(p, r):
            end_with(p, r, IN_GONE, BLAME_DOWNSTREAM, CAUSE_RESET)
    if r.live:
        arm(p, r)


cdef void on_conn_due(void *plane, void *owner) noexcept nogil:
    cdef Conn *c = <Conn *>owner
    cdef Upstream *u
    # A conn that is owned is its relay's business; the timer was left armed on purpose.
    if c.owner == NULL:
        u = c.endpoint.upstream
        unowned_due(<Plane *>plane, c)
        wake_waiting(<Plane *>plane, u)


cdef void relay_install(Plane *p) noexcept nogil:
    conn_install(p)
    p.on_unsent = on_unsent
    p.on_soon = on_soon
    p.on_downstream = on_downstream
    p.on_upstream = on_upstream
    p.on_relay_due = on_relay_due
    p.on_conn_due = on_conn_due


# ---------------------------------------------------------------- run list, drain, close


cdef bint run_later(Plane *p) noexcept nogil:
    cdef Relay *r = p.run_head
    cdef Relay *last = p.run_tail
    cdef bint is_last
    while r != NULL:
        is_last = r == last
        p.run_head = r.run_next
        if p.run_head == NULL:
            p.run_tail = NULL
        r.in_run = 0
        r.run_next = NULL
        if r.live:
            run_relay(p, r)
        else:
            r.run_next = p.free_relays
            p.free_relays = r
        if is_last:
            break
        r = p.run_head
    return p.run_head != NULL


cdef void relay_begin_settle(Plane *p) noexcept nogil:
    p.draining = DRAIN_SETTLES


cdef void relay_begin_drain(Plane *p, bint spares_idle) noexcept nogil:
    """A conn without a request yet stays open for a while (deadlines.pyx): its caller cannot know
    of the drain. Nobody waits any longer for an endpoint."""
    cdef Relay *r
    cdef uint32_t i
    p.draining = DRAIN_ENDS
    for i in range(p.n_relays):
        r = p.relays[i]
        if r.live and hold_is_waiting(r):
            r.x.asks_close = 1
            end_with(p, r, IN_REFUSED, BLAME_OURSELVES, CAUSE_DRAINED)
        if not r.live or r.x.phase != PHASE_IDLE:
            continue
        if r.down.served and not spares_idle:
            feed(p, r, IN_GONE)
        else:
            r.down.since_ns = p.now_ns
            arm(p, r)


cdef void end_for_drain(Plane *p, Relay *r) noexcept nogil:
    """Send a 503 if there is no response head yet; cut a running response in its dialect."""
    if PHASE_PENDING <= r.x.phase <= PHASE_WAITING or (r.x.phase == PHASE_HEAD and r.x.is_composed):
        end_with(p, r, IN_REFUSED, BLAME_OURSELVES, CAUSE_DRAINED)
    elif r.x.phase == PHASE_RELAYING:
        end_with(p, r, IN_CUT, BLAME_OURSELVES, CAUSE_DRAINED)


cdef void relay_close_all(Plane *p) noexcept nogil:
    """The deadline of a drain has passed: exchanges that still run end, blamed on the proxy."""
    cdef uint32_t i
    p.draining = DRAIN_ENDS
    for i in range(p.n_relays):
        end_for_drain(p, p.relays[i])
    for i in range(p.n_relays):
        if p.relays[i].live:
            end_with(p, p.relays[i], IN_GONE, BLAME_OURSELVES, CAUSE_DRAINED)
