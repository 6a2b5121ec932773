"""Conns to one endpoint: connects, and a LIFO pool of idle conns.

Law 1. A conn is checked out only if nothing was reported on it while it was idle. Bytes on an idle
       conn are never a response (they would be another exchange's); a FIN means that it is gone.
Law 2. An idle conn is closed before the server would close it (learned_keepalive.pyx); retries
       cover the rest of that race.
Law 3. A conn that failed is closed, never pooled; FIN, not RST, so that the engine frees the GPU.
Tests: tests/relay/test_pools.py, tests/relay/test_races.py.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from zeroproxy._fast.memory.buffer cimport alloc_lines
from zeroproxy._fast.net.conn cimport conn_close, conn_is_silent, conn_pump_tls, conn_watch
from zeroproxy._fast.net.syscalls cimport (
    AF_UNIX,
    EINPROGRESS,
    IPPROTO_TCP,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    SO_KEEPALIVE,
    TCP_KEEPCNT,
    TCP_KEEPIDLE,
    TCP_KEEPINTVL,
    TCP_NODELAY,
    close,
    connect,
    errno,
    setsockopt,
    sockaddr,
    socket,
)
from zeroproxy._fast.net.timer cimport timer_init, timer_no_later
from zeroproxy._fast.net.tls cimport tls_open
from zeroproxy._fast.types.conn_pool cimport CLOSED_AGE, CLOSED_IDLE, CLOSED_PEER, CLOSED_SURPLUS
from zeroproxy._fast.types.exchange_enums cimport DRAIN_ENDS
from zeroproxy._fast.types.invariant cimport invariant
from zeroproxy._fast.types.plane cimport Conn, ConnList, Endpoint, Plane, Upstream
from zeroproxy._fast.upstream.learned_keepalive cimport (
    keepalive_forget,
    keepalive_is_spent,
    keepalive_limit,
    keepalive_lower,
    keepalive_raise,
)

cdef enum:
    # An idle conn this young is trusted without a system call. A server that closes within 200 ms
    # of its answer is covered by the retry, and a peek costs 2 % of a small request.
    TRUST_NS = 200000000


cdef Conn *acquire_conn(Plane *p, Endpoint *e) noexcept nogil:
    cdef Conn *c = p.free_conns
    if c != NULL:
        p.free_conns = c.next
    else:
        c = <Conn *>alloc_lines(sizeof(Conn))
        if c == NULL:
            return NULL
    memset(c, 0, sizeof(Conn))
    c.fd = -1
    c.is_upstream = 1
    c.reporter = c
    c.endpoint = e
    timer_init(&c.timer, p.on_conn_due, c)
    p.counters.upstream_conns += 1
    e.n_conns += 1
    return c


cdef void conn_list_push(ConnList *l, Conn *c) noexcept nogil:
    c.prev = NULL
    c.next = l.head
    if l.head != NULL:
        l.head.prev = c
    else:
        l.tail = c
    l.head = c
    l.n += 1


cdef void conn_list_remove(ConnList *l, Conn *c) noexcept nogil:
    if c.prev != NULL:
        c.prev.next = c.next
    else:
        l.head = c.next
    if c.next != NULL:
        c.next.prev = c.prev
    else:
        l.tail = c.prev
    c.prev = c.next = NULL
    l.n -= 1


cdef void release_conn(Plane *p, Conn *c) noexcept nogil:
    """Close a conn that is not in the idle list and release its struct."""
    conn_close(p, c)
    c.owner = NULL
    c.next = p.free_conns
    p.free_conns = c
    p.counters.upstream_conns -= 1
    c.endpoint.n_conns -= 1


cdef void endpoint_retire(Plane *p, Conn *c, int why) noexcept nogil:
    c.endpoint.n_closed[why] += 1
    release_conn(p, c)


cdef void endpoint_lose_idle(Plane *p, Conn *c) noexcept nogil:
    """Lose an idle conn that the endpoint has closed or sent bytes on."""
    cdef Endpoint *e = c.endpoint
    e.n_stale += 1
    keepalive_lower(e, c, p.now_ns)
    endpoint_retire(p, c, CLOSED_PEER)
    endpoint_want_warm(p, e)


cdef void endpoint_forget(Endpoint *e) noexcept nogil:
    """Forget what was learned: another server may come up at this address."""
    e.takes_usage = e.refuses_usage = 0
    keepalive_forget(e)


cdef void endpoint_want_warm(Plane *p, Endpoint *e) noexcept nogil:
    """Look for a missing warm conn with the next tick, outside of the exchange."""
    if e.idle.n + e.opening.n < e.pool.warm and e.warm_wait_ns == 0:
        timer_no_later(&p.wheel, &e.warm_timer, p.now_ns + 1)


cdef bint endpoint_may_connect(const Plane *p, const Endpoint *e) noexcept nogil:
    """True if a conn may be opened that no exchange waits for."""
    return (
        p.counters.upstream_conns < p.limits.connections
        and (e.pool.max_connections == 0 or e.n_conns < e.pool.max_connections)
    )


cdef bint is_quiet(Plane *p, Conn *c) noexcept nogil:
    """True if nothing was reported and, for a conn idle for longer, the kernel agrees."""
    conn_pump_tls(c)
    if c.may_read or c.saw_fin or c.broken:
        return 0
    if p.now_ns - c.since_ns < TRUST_NS:
        return 1
    return conn_is_silent(c)


cdef Conn *acquire_idle_conn(Plane *p, Endpoint *e) noexcept nogil:
    """Check out the most recently used idle conn that is quiet and not too old; NULL: none."""
    cdef uint64_t limit = keepalive_limit(e)
    cdef Conn *c
    e.used_ns = p.now_ns
    while e.idle.head != NULL:
        c = e.idle.head
        conn_list_remove(&e.idle, c)
        if not is_quiet(p, c):
            endpoint_lose_idle(p, c)
        elif limit and p.now_ns - c.since_ns >= limit:
            endpoint_retire(p, c, CLOSED_IDLE)
        elif keepalive_is_spent(e, c, p.now_ns):
            endpoint_retire(p, c, CLOSED_AGE)
        else:
            e.n_reused += c.served != 0
            endpoint_want_warm(p, e)
            return c
    endpoint_want_warm(p, e)
    return NULL


cdef bint has_place(const Plane *p, const Endpoint *e) noexcept nogil:
    if not e.in_rotation or e.draining or p.draining == DRAIN_ENDS or e.idle.n >= e.pool.max_idle:
        return 0
    # False where the descriptors, or a reload, allow fewer conns than there are.
    return (
        p.counters.upstream_conns <= p.limits.connections
        and (e.pool.max_connections == 0 or e.n_conns <= e.pool.max_connections)
    )


cdef void release_idle_conn(Plane *p, Conn *c) noexcept nogil:
    """Return a clean conn to the pool, or close it if there is no place or it is spent."""
    cdef Endpoint *e = c.endpoint
    cdef uint64_t limit
    c.owner = NULL
    if not has_place(p, e) or c.saw_fin or c.broken:
        endpoint_retire(p, c, CLOSED_SURPLUS)
        return
    if keepalive_is_spent(e, c, p.now_ns):
        endpoint_retire(p, c, CLOSED_AGE)
        endpoint_want_warm(p, e)
        return
    invariant(c.inbuf.cap == 0 and c.outbuf.cap == 0)
    keepalive_raise(e, p.now_ns)
    c.since_ns = p.now_ns
    conn_list_push(&e.idle, c)
    limit = keepalive_limit(e)
    if limit:
        timer_no_later(&p.wheel, &c.timer, c.since_ns + limit)


cdef bint secure(Plane *p, Conn *c) noexcept nogil:
    """Begin TLS where the endpoint is https://. 0: no memory (errno)."""
    cdef Endpoint *e = c.endpoint
    cdef Upstream *u = e.upstream
    cdef const char *name = e.tls_name
    if name[0] == 0:
        return 1
    if u.tls_name[0]:
        name = u.tls_name
    return tls_open(p, c, u.tls, name)


cdef void probe_when_silent(int fd, uint32_t seconds) noexcept nogil:
    """Let TCP ask a silent peer after `seconds`; 0: never. Without an answer the conn ends after as
    many more."""
    cdef int one = 1, idle = <int>seconds, times = 4
    cdef int between = <int>(seconds // 4) if seconds >= 4 else 1
    if seconds == 0:
        return
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one))
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle))
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &between, sizeof(between))
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof(times))


cdef Conn *endpoint_connect(Plane *p, Endpoint *e) noexcept nogil:
    """Begin to connect; c.connecting: still under way. NULL: refused at once, or no descriptor, or
    no memory (errno)."""
    cdef sockaddr *addr = <sockaddr *>e.addr
    cdef Conn *c
    cdef int one = 1
    cdef int fd = socket(addr.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if fd < 0:
        return NULL
    if addr.sa_family != AF_UNIX:
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
        probe_when_silent(fd, e.pool.tcp_idle)
    c = acquire_conn(p, e)
    e.n_connects += 1
    if c != NULL and secure(p, c) \
            and (connect(fd, addr, e.addr_len) == 0 or errno == EINPROGRESS):
        # A loopback or unix connect may be done already; the first report comes either way.
        c.connecting = 1
        c.since_ns = c.opened_ns = p.now_ns
        if conn_watch(p, c, fd) == 0:
            return c
    close(fd)
    if c != NULL:
        release_conn(p, c)
    e.n_connect_failures += 1
    return NULL


cdef void endpoint_drop_idle(Plane *p, Endpoint *e) noexcept nogil:
    cdef Conn *c
    while e.idle.head != NULL:
        c = e.idle.head
        conn_list_remove(&e.idle, c)
        endpoint_retire(p, c, CLOSED_SURPLUS)


cdef void endpoint_drop_oldest(Plane *p, Endpoint *e) noexcept nogil:
    """Close the oldest idle conn, to make room for a new one."""
    cdef Conn *c = e.idle.tail
    if c != NULL:
        conn_list_remove(&e.idle, c)
        endpoint_retire(p, c, CLOSED_SURPLUS)
