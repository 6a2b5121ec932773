"""One address of an upstream: words Python writes (up, draining, weight), a LIFO pool of idle
conns, and the choice between addresses: those in rotation whose breaker lets an attempt through.

Law 1. A conn is handed out only if nothing was reported on it while it was idle: bytes on an idle
       conn are never a response (they would be somebody else's), a FIN means it is gone.
Law 2. An idle conn is closed before the server would close it (`pool.idle_timeout`); the rest of
       that race is covered by the law of retries.
Law 3. A conn that failed is closed, never pooled; FIN, not RST, so that the engine frees the GPU.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc
from libc.string cimport memset

from zeroproxy._fast.breaker cimport BREAKER_OPEN, breaker_admits, ramp_share, ramp_takes
from zeroproxy._fast.clock cimport NS_PER_S
from zeroproxy._fast.conn cimport (
    conn_close,
    conn_finish_connect,
    conn_watch,
)
from zeroproxy._fast.endpoint cimport BALANCE_ROUND_ROBIN
from zeroproxy._fast.invariant cimport invariant
from zeroproxy._fast.plane cimport Conn, Endpoint, Plane, Upstream
from zeroproxy._fast.sock cimport (
    AF_UNIX,
    EAGAIN,
    EINPROGRESS,
    IPPROTO_TCP,
    MSG_DONTWAIT,
    MSG_PEEK,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    TCP_NODELAY,
    close,
    connect,
    errno,
    recv,
    setsockopt,
    sockaddr,
    socket,
)
from zeroproxy._fast.timer cimport timer_init, timer_no_later

cdef enum:
    # An idle conn this young is trusted without asking the kernel: a server that closes within
    # 200 ms of answering is caught by the retry, and a peek costs 2 % of a small request.
    TRUST_NS = 200000000


# ---------------------------------------------------------------- which endpoint


cdef struct Choice:         # what one choice goes by
    const Endpoint *avoid   # the one that just failed, or starts slowly; NULL: none
    bint takes_busy         # also who said 429 or 503 a moment ago
    uint64_t now_ns


cdef bint is_eligible(const Endpoint *e, const Choice *c) noexcept nogil:
    return (
        e.up and not e.draining and e != c.avoid
        and (c.takes_busy or c.now_ns >= e.busy_until_ns)
        and breaker_admits(&e.breaker, &e.upstream.breaker, c.now_ns)
    )


cdef inline uint64_t capacity(const Endpoint *e, const Choice *c) noexcept nogil:
    return e.weight * ramp_share(e, c.now_ns)


cdef Endpoint *pick_least_inflight(Upstream *u, const Choice *c) noexcept nogil:
    """Fewest exchanges in flight per weight; ties go round robin. O(n), n <= 64 endpoints."""
    cdef Endpoint *best = NULL
    cdef Endpoint *e
    cdef uint32_t i
    for i in range(u.n_endpoints):
        e = u.endpoints[(u.cursor + i) % u.n_endpoints]
        if not is_eligible(e, c):
            continue
        if best == NULL or e.inflight * capacity(best, c) < best.inflight * capacity(e, c):
            best = e
    u.cursor += 1
    return best


cdef Endpoint *pick_round_robin(Upstream *u, const Choice *c) noexcept nogil:
    """Each endpoint gets `weight` turns in a row."""
    cdef uint32_t total = 0, turn, i
    cdef Endpoint *e
    for i in range(u.n_endpoints):
        e = u.endpoints[i]
        if is_eligible(e, c):
            total += e.weight
    if total == 0:
        return NULL
    turn = u.cursor % total
    u.cursor += 1
    for i in range(u.n_endpoints):
        e = u.endpoints[i]
        if not is_eligible(e, c):
            continue
        if turn < e.weight:
            return e
        turn -= e.weight
    return NULL


cdef Endpoint *pick(Upstream *u, const Choice *c) noexcept nogil:
    if u.balance == BALANCE_ROUND_ROBIN:
        return pick_round_robin(u, c)
    return pick_least_inflight(u, c)


cdef Endpoint *upstream_pick(Upstream *u, const Endpoint *avoid, uint64_t now) noexcept nogil:
    """An endpoint in rotation that is not busy, other than `avoid` (the one that just failed); a
    busy one, or `avoid`, if there is no other. NULL: none in rotation."""
    cdef Choice c
    cdef Endpoint *e
    cdef Endpoint *other
    c.avoid = avoid
    c.takes_busy = 0
    c.now_ns = now
    e = pick(u, &c)
    if e == NULL:
        c.takes_busy = 1
        e = pick(u, &c)
    if avoid != NULL:
        c.avoid = NULL
        return e if e != NULL else pick(u, &c)
    if e == NULL or e.ramp_ns == 0 or ramp_takes(e, now):
        return e
    c.avoid = e
    other = pick(u, &c)
    return other if other != NULL else e


cdef uint64_t upstream_wait(const Upstream *u, uint64_t now) noexcept nogil:
    """How long until the first breaker half opens, ns; 0: nobody waits for one."""
    cdef uint64_t least = 0, wait
    cdef const Endpoint *e
    cdef uint32_t i
    for i in range(u.n_endpoints):
        e = u.endpoints[i]
        if not e.up or e.draining or e.breaker.state != BREAKER_OPEN or e.breaker.due_ns <= now:
            continue
        wait = e.breaker.due_ns - now
        if least == 0 or wait < least:
            least = wait
    return least


# ---------------------------------------------------------------- conns


cdef Conn *take_conn(Plane *p, Endpoint *e) noexcept nogil:
    cdef Conn *c = p.free_conns
    if c != NULL:
        p.free_conns = c.next
    else:
        c = <Conn *>calloc(1, sizeof(Conn))
        if c == NULL:
            return NULL
    memset(c, 0, sizeof(Conn))
    c.fd = -1
    c.is_upstream = 1
    c.reporter = c
    c.endpoint = e
    timer_init(&c.timer, p.on_conn_due, c)
    p.counters.upstream_conns += 1
    return c


cdef void unlink_idle(Endpoint *e, Conn *c) noexcept nogil:
    if c.prev != NULL:
        c.prev.next = c.next
    else:
        e.idle_head = c.next
    if c.next != NULL:
        c.next.prev = c.prev
    else:
        e.idle_tail = c.prev
    c.prev = c.next = NULL
    e.n_idle -= 1


cdef void endpoint_discard(Plane *p, Conn *c) noexcept nogil:
    """Close a conn that is not in the idle list and give its struct back."""
    conn_close(p, c)
    c.owner = NULL
    c.next = p.free_conns
    p.free_conns = c
    p.counters.upstream_conns -= 1


cdef bint is_quiet(Plane *p, Conn *c) noexcept nogil:
    """Nothing was reported, and for a conn that rested longer the kernel agrees."""
    cdef char byte
    if c.may_read or c.saw_fin or c.broken:
        return 0
    if p.now_ns - c.since_ns < TRUST_NS:
        return 1
    return recv(c.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 and errno == EAGAIN


cdef Conn *endpoint_take_idle(Plane *p, Endpoint *e) noexcept nogil:
    """The most recently used idle conn that is still quiet; NULL: none."""
    cdef Conn *c
    while e.idle_head != NULL:
        c = e.idle_head
        unlink_idle(e, c)
        if is_quiet(p, c):
            e.n_reused += c.served != 0
            return c
        e.n_stale += 1
        endpoint_discard(p, c)
    return NULL


cdef void endpoint_put_idle(Plane *p, Conn *c) noexcept nogil:
    """Take a clean conn into the pool, or close it if the pool is full or the endpoint is out."""
    cdef Endpoint *e = c.endpoint
    c.owner = NULL
    if e.n_idle >= e.max_idle or not e.up or e.draining or p.draining or c.saw_fin or c.broken:
        endpoint_discard(p, c)
        return
    invariant(c.inbuf.cap == 0 and c.outbuf.cap == 0)
    c.since_ns = p.now_ns
    c.prev = NULL
    c.next = e.idle_head
    if e.idle_head != NULL:
        e.idle_head.prev = c
    else:
        e.idle_tail = c
    e.idle_head = c
    e.n_idle += 1
    if e.idle_timeout_ns:
        timer_no_later(&p.wheel, &c.timer, c.since_ns + e.idle_timeout_ns)


cdef Conn *endpoint_connect(Plane *p, Endpoint *e) noexcept nogil:
    """Begin to connect; c.connecting says whether it is still under way. NULL: refused at once,
    or no descriptor, or no memory (errno)."""
    cdef sockaddr *addr = <sockaddr *>e.addr
    cdef Conn *c
    cdef int one = 1
    cdef int fd = socket(addr.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if fd < 0:
        return NULL
    if addr.sa_family != AF_UNIX:
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
    c = take_conn(p, e)
    e.n_connects += 1
    if c != NULL and (connect(fd, addr, e.addr_len) == 0 or errno == EINPROGRESS):
        # A loopback or unix connect may be done already; the first report tells either way.
        c.connecting = 1
        c.since_ns = p.now_ns
        if conn_watch(p, c, fd) == 0:
            return c
    close(fd)
    if c != NULL:
        endpoint_discard(p, c)
    e.n_connect_failures += 1
    return NULL


# ---------------------------------------------------------------- while nobody owns the conn


cdef void endpoint_idle_ready(Plane *p, Conn *c) noexcept nogil:
    """A report on a conn without an owner: a prewarm connect has ended, or the conn has died."""
    cdef Endpoint *e = c.endpoint
    if c.connecting:
        e.n_opening -= 1
        if conn_finish_connect(c):
            e.n_connect_failures += 1
            endpoint_discard(p, c)
        else:
            endpoint_put_idle(p, c)
        return
    if c.may_read or c.saw_fin or c.broken:
        unlink_idle(e, c)
        e.n_stale += 1
        endpoint_discard(p, c)


cdef void endpoint_idle_due(Plane *p, Conn *c) noexcept nogil:
    """The conn's timer fired while nobody owned it."""
    cdef Endpoint *e = c.endpoint
    if c.connecting:
        e.n_opening -= 1
        e.n_connect_failures += 1
        endpoint_discard(p, c)
    elif p.now_ns >= c.since_ns + e.idle_timeout_ns:
        unlink_idle(e, c)
        endpoint_discard(p, c)
    else:
        timer_no_later(&p.wheel, &c.timer, c.since_ns + e.idle_timeout_ns)


cdef uint32_t endpoint_prewarm(Plane *p, Endpoint *e, uint32_t n) noexcept nogil:
    """Open conns until `n` are idle or under way; returns how many were begun."""
    cdef uint32_t begun = 0
    cdef Conn *c
    while e.n_idle + e.n_opening < n and e.up and not e.draining:
        c = endpoint_connect(p, e)
        if c == NULL:
            break
        e.n_opening += 1
        begun += 1
        timer_no_later(&p.wheel, &c.timer, p.now_ns + 2 * <uint32_t>NS_PER_S)
    return begun


cdef void endpoint_drop_idle(Plane *p, Endpoint *e) noexcept nogil:
    cdef Conn *c
    while e.idle_head != NULL:
        c = e.idle_head
        unlink_idle(e, c)
        endpoint_discard(p, c)
