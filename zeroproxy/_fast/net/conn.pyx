"""One connection: a descriptor, two buffers that are empty most of the time. Knows no HTTP.

Law 1. Edge-triggered: `may_read` and `may_write` keep the kernel's last report. A short read means
       drained, so no recv is spent on EAGAIN; after a FIN or an error, read until recv returns it.
Law 2. Bytes that a send could not take are copied to the out-buffer, at most one block. Until it is
       empty, the source of the bytes is not read.
Law 3. Everything leaves before the plane sleeps: TCP_NODELAY, no timer, no corking. A short send
       during dispatch is copied, and deferred to the end of its group of reports. So reads and
       sends evict each other's cache lines once a group. Close, shut and a second send flush it;
       a close upstream drops it.
Law 4. Callers do not know whether a conn speaks TLS: one branch in each verb does.
Tests: tests/relay/test_deferred_sends.py, tests/relay/test_tunnel.py."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from zeroproxy._fast.memory.buffer cimport (
    LINE,
    buffer_append,
    buffer_bytes,
    buffer_clear,
    buffer_consume,
    buffer_len,
)
from zeroproxy._fast.memory.prefetch cimport prefetch
from zeroproxy._fast.net.conn cimport CONNECT_MORE, RECV_EMPTY, RECV_FAILED
from zeroproxy._fast.net.reactor cimport reactor_add, reactor_remove
from zeroproxy._fast.net.syscalls cimport (
    EAGAIN,
    EINTR,
    ENOBUFS,
    EPIPE,
    EPOLLERR,
    EPOLLET,
    EPOLLHUP,
    EPOLLIN,
    EPOLLOUT,
    EPOLLRDHUP,
    EPROTO,
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    MSG_PEEK,
    MSG_TRUNC,
    SHUT_WR,
    SOL_SOCKET,
    SO_ERROR,
    SO_LINGER,
    close,
    errno,
    getpeername,
    getsockopt,
    linger,
    recv,
    send,
    setsockopt,
    shutdown,
    sockaddr,
    sockaddr_storage,
    socklen_t,
)
from zeroproxy._fast.net.timer cimport timer_disarm
from zeroproxy._fast.net.tls cimport (
    TLS_DONE,
    TLS_MORE,
    tls_close,
    tls_handshake,
    tls_note,
    tls_pump,
    tls_recv,
    tls_send,
    tls_send_close_notify,
)
from zeroproxy._fast.types.clock cimport clock_monotonic_ns
from zeroproxy._fast.types.plane cimport Conn, Plane
from zeroproxy._fast.types.reactor cimport SEND_BATCH_BYTES, SEND_BATCH_MAX, DeferredSend, SendBatch
from zeroproxy._fast.types.tls cimport Tls

cdef enum:
    DEFER_MOST = 4096        # bytes of one send; a longer one is not worth a copy


cdef void conn_on_events(Conn *c, uint32_t events) noexcept nogil:
    """Remember readiness and failure from an epoll report."""
    if events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR):
        c.may_read = 1
    if events & EPOLLOUT:
        c.may_write = 1
    if events & EPOLLRDHUP:
        c.saw_fin = 1
    # HUP = both directions are shut. After a FIN of ours that is the peer's FIN, no failure.
    if events & EPOLLERR or (events & EPOLLHUP and not c.shut):
        c.broken = 1
    if c.tls != NULL:
        tls_note(c, events)


cdef int conn_watch(Plane *p, Conn *c, int fd) noexcept nogil:
    """Take over a non-blocking descriptor and register it once. -1: errno set, not taken over."""
    cdef int64_t slot = reactor_add(
        &p.reactor, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
        p.on_upstream if c.is_upstream else p.on_downstream, c.reporter,
    )
    if slot < 0:
        return -1
    c.fd = fd
    c.slot = <uint32_t>slot
    return 0


cdef ssize_t conn_recv(Conn *c, char *buf, size_t cap) noexcept nogil:
    """Bytes read, 0 at the peer's FIN, RECV_EMPTY, or RECV_FAILED with c.error set. The kernel
    reports a failure only once, so one that a send met fails here too, behind the last byte."""
    cdef ssize_t n
    if c.tls != NULL:
        return tls_recv(c, buf, cap)
    while True:
        n = recv(c.fd, buf, cap, 0)
        if n > 0:
            if <size_t>n < cap and not c.saw_fin and not c.broken:
                c.may_read = 0
            return n
        if n < 0 and errno == EINTR:
            continue
        c.may_read = 0
        if c.error and (n == 0 or errno == EAGAIN):
            return RECV_FAILED
        if n == 0:
            c.saw_fin = 1
            return 0
        if errno == EAGAIN:
            return RECV_EMPTY
        c.error = errno
        c.broken = 1
        return RECV_FAILED


cdef ssize_t send_some(Conn *c, const char *at, size_t n) noexcept nogil:
    """Send once. Bytes taken by the kernel (0: full), or -1: broken."""
    cdef ssize_t sent
    if c.tls != NULL:
        return tls_send(c, at, n)
    while True:
        sent = send(c.fd, at, n, MSG_NOSIGNAL)
        if sent >= 0:
            if <size_t>sent < n:
                c.may_write = 0
            return sent
        if errno == EINTR:
            continue
        if errno == EAGAIN or errno == ENOBUFS:
            c.may_write = 0
            return 0
        c.error = errno
        c.broken = 1
        return -1


cdef bint hand_over(Plane *p, Conn *c, const char *at, size_t n) noexcept nogil:
    """Hand bytes to the kernel; keep the rest. 0: the conn is broken, or (never, if the caller
    obeys law 2) more waits than one block holds."""
    cdef ssize_t sent = 0
    if not conn_is_backed_up(c):
        sent = send_some(c, at, n)
        if sent < 0:
            return 0
        if <size_t>sent == n:
            return 1
        c.write_ns = p.now_ns
    if not buffer_append(&c.outbuf, &p.blocks, at + sent, n - <size_t>sent):
        c.error = ENOBUFS
        c.broken = 1
        return 0
    return 1


# ---------------------------------------------------------------- deferred sends


cdef void call_off(Plane *p, Conn *c) noexcept nogil:
    if c.deferred:
        p.send_batch.sends[c.deferred - 1].conn = NULL
        c.deferred = 0


cdef bint flush_deferred(Plane *p, DeferredSend *it, uint64_t *now_ns) noexcept nogil:
    """Hand one deferred send over. 0: the conn is broken or backed up. `now_ns` is read once."""
    cdef Conn *c = <Conn *>it.conn
    cdef bint is_sent
    it.conn = NULL
    c.deferred = 0
    is_sent = hand_over(p, c, p.send_batch.bytes + it.at, it.n) and not conn_is_backed_up(c)
    if it.overhead != NULL:
        if not now_ns[0]:
            now_ns[0] = clock_monotonic_ns()
        it.overhead[0] += now_ns[0] - p.now_ns
    return is_sent


cdef void conn_flush_deferred(Plane *p, Conn *c) noexcept nogil:
    cdef uint64_t now_ns = 0
    if c.deferred and not flush_deferred(p, &p.send_batch.sends[c.deferred - 1], &now_ns):
        p.on_unsent(p, c, 0)


cdef void conn_flush_all_deferred(Plane *p) noexcept nogil:
    cdef uint32_t i
    cdef uint64_t now_ns = 0
    cdef void *c
    for i in range(p.send_batch.n):
        if i + 1 < p.send_batch.n:
            prefetch(p.send_batch.sends[i + 1].conn, 1)
        c = p.send_batch.sends[i].conn
        if c != NULL and not flush_deferred(p, &p.send_batch.sends[i], &now_ns):
            p.on_unsent(p, c, 0)
    p.send_batch.n = p.send_batch.end = 0


cdef void on_group_end(void *plane) noexcept nogil:
    conn_flush_all_deferred(<Plane *>plane)


cdef void conn_install(Plane *p) noexcept nogil:
    p.on_group_end = on_group_end


cdef void defer_send(Plane *p, Conn *c, const char *at, size_t n) noexcept nogil:
    cdef SendBatch *batch = &p.send_batch
    cdef DeferredSend *it
    if batch.n == SEND_BATCH_MAX or batch.end + n > SEND_BATCH_BYTES:
        conn_flush_all_deferred(p)
    it = &batch.sends[batch.n]
    batch.n += 1
    it.conn = c
    it.overhead = NULL
    it.at = batch.end
    it.n = <uint32_t>n
    memcpy(batch.bytes + it.at, at, n)
    batch.end = (it.at + it.n + LINE - 1) // LINE * LINE
    c.deferred = <uint8_t>batch.n


cdef bint conn_send(Plane *p, Conn *c, const char *at, size_t n) noexcept nogil:
    """Send, at the latest when the group of reports ends; keep what does not fit. 0: the conn is
    broken; a deferred send reports that to `on_unsent`. No deferred send waits for a long one."""
    if n > DEFER_MOST:
        conn_flush_all_deferred(p)
    conn_flush_deferred(p, c)
    if (
        not p.send_batch.accepts or n > DEFER_MOST
        or c.tls != NULL or c.broken or conn_is_backed_up(c)
    ):
        return hand_over(p, c, at, n)
    defer_send(p, c, at, n)
    return 1


cdef void conn_time_deferred(Plane *p, Conn *c, uint64_t *overhead) noexcept nogil:
    """The time counts from the reports under way."""
    if c.deferred:
        p.send_batch.sends[c.deferred - 1].overhead = overhead
    else:
        overhead[0] += clock_monotonic_ns() - p.now_ns


cdef bint conn_flush(Plane *p, Conn *c) noexcept nogil:
    """Send the out-buffer. 1: nothing waits any more."""
    cdef ssize_t sent
    conn_flush_deferred(p, c)
    while conn_is_backed_up(c) and c.may_write:
        sent = send_some(c, buffer_bytes(&c.outbuf), buffer_len(&c.outbuf))
        if sent < 0:
            return 0
        if sent:
            c.write_ns = p.now_ns
            buffer_consume(&c.outbuf, &p.blocks, <size_t>sent)
    return not conn_is_backed_up(c)


cdef void conn_discard_unread(Conn *c) noexcept nogil:
    """Read and drop bytes in the kernel, so that a close sends a FIN. A close over unread bytes
    sends a RST, and some servers (uvicorn) then hold the connection until its keep-alive ends.
    Does nothing on a unix socket, which has no RST."""
    if c.fd >= 0 and not c.saw_fin and not c.broken:
        recv(c.fd, NULL, 1 << 20, MSG_TRUNC | MSG_DONTWAIT)


cdef bint conn_is_silent(Conn *c) noexcept nogil:
    """True if the kernel has nothing to read either."""
    cdef char byte
    if c.tls != NULL:
        (<Tls *>c.tls).may_recv = 1
        tls_pump(c)
        return not c.may_read
    return recv(c.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 and errno == EAGAIN


cdef bint conn_has_bytes(Conn *c) noexcept nogil:
    """True if a byte can be read; an end or a failure alone is none."""
    cdef char byte
    if c.tls != NULL:
        return tls_pump(c)
    return recv(c.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1


cdef void conn_pump_tls(Conn *c) noexcept nogil:
    """Let TLS take in its own records, so that may_read means data."""
    if c.tls != NULL and c.may_read:
        tls_pump(c)


cdef bint conn_shut(Plane *p, Conn *c) noexcept nogil:
    """Send our FIN; reading goes on. 0: TLS could not announce the end yet, the socket is full."""
    conn_flush_deferred(p, c)
    if not c.shut and c.fd >= 0:
        if c.tls != NULL and not tls_send_close_notify(c):
            return 0
        shutdown(c.fd, SHUT_WR)
        c.shut = 1
    return 1


cdef bint conn_send_close_notify(Conn *c) noexcept nogil:
    """Send the end of TLS before a close. 0: the socket is full."""
    return c.tls == NULL or tls_send_close_notify(c)


cdef void conn_forbid_close_notify(Conn *c) noexcept nogil:
    """Forbid TLS to announce a clean end: the response was cut."""
    if c.tls != NULL:
        (<Tls *>c.tls).forbids_close_notify = 1


cdef void conn_close(Plane *p, Conn *c) noexcept nogil:
    """Close with a FIN, drop the buffers, disarm the timer. Twice is harmless. A request that is
    still deferred is never sent: no exchange waits for its answer."""
    if c.is_upstream:
        call_off(p, c)
    conn_flush_deferred(p, c)
    timer_disarm(&p.wheel, &c.timer)
    if c.tls != NULL:
        if conn_is_backed_up(c):
            conn_forbid_close_notify(c)
        tls_close(c)
    buffer_clear(&c.inbuf, &p.blocks)
    buffer_clear(&c.outbuf, &p.blocks)
    if c.fd < 0:
        return
    reactor_remove(&p.reactor, c.slot)
    close(c.fd)
    c.fd = -1


cdef void conn_reset(Plane *p, Conn *c) noexcept nogil:
    """Close with a RST: the only sign to an HTTP/1.0 caller that a body was cut short."""
    cdef linger how
    how.l_onoff = 1
    how.l_linger = 0
    conn_forbid_close_notify(c)
    if c.fd >= 0:
        setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &how, sizeof(how))
    conn_close(p, c)


cdef int finish_handshake(Conn *c) noexcept nogil:
    cdef int step = tls_handshake(c)
    if step == TLS_MORE:
        return CONNECT_MORE
    if step == TLS_DONE:
        c.connecting = 0
        return 0
    return c.error if c.error else EPROTO


cdef bint conn_is_connected(Conn *c) noexcept nogil:
    """True if a new conn needs no report: over loopback a connect ends at once. TLS goes on."""
    cdef sockaddr_storage peer
    cdef socklen_t size = sizeof(peer)
    if c.tls != NULL or getpeername(c.fd, <sockaddr *>&peer, &size) < 0:
        return 0
    c.connecting = 0
    c.may_write = 1
    return 1


cdef int conn_finish_connect(Conn *c) noexcept nogil:
    """After a report on a connecting conn: 0, the errno of the failure, or CONNECT_MORE: the
    handshake goes on."""
    cdef int failure = 0
    cdef socklen_t size = sizeof(failure)
    if getsockopt(c.fd, SOL_SOCKET, SO_ERROR, &failure, &size) < 0:
        failure = errno
    if failure == 0 and c.tls != NULL:
        return finish_handshake(c)
    if failure == 0 and c.broken:
        failure = EPIPE
    c.error = failure
    if failure == 0:
        c.connecting = 0
    return failure
