"""A worker's data plane, and the doors Python has to it.

    Engine(...)              limits and switches; no descriptor of the outside world yet
    add_upstream(...)        a group of endpoints; returns its index
    listen(fd)               accept on a listening, non-blocking descriptor (borrowed)
    fileno(), on_ready()     for loop.add_reader; on_ready says whether to call it again soon
    set_endpoint(i, ...)     the words policy writes: up, draining, weight
    prewarm(i, n)            have n idle conns
    drain(), close_all()     every exchange its conn's last; then cut what still runs
    snapshot()               counters, gauges, histograms, as plain dicts
    records(n)               the ring's consumer side; the only door for another thread
    close()                  give everything back

Law. Adding a door is a design decision (ARCHITECTURE.md). Nothing here runs per request: `on_ready`
     drains with the GIL released and runs no Python at all.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy

from zeroproxy._fast.buffer cimport pool_close, pool_init
from zeroproxy._fast.clock cimport clock_monotonic_ns
from zeroproxy._fast.endpoint cimport endpoint_drop_idle, endpoint_prewarm
from zeroproxy._fast.identity cimport identity_init
from zeroproxy._fast.invariant cimport ZP_DEBUG
from zeroproxy._fast.plane cimport Conn, Endpoint, Limits, Listener, Plane, Record, Upstream
from zeroproxy._fast.reactor cimport reactor_add, reactor_close, reactor_init, reactor_poll
from zeroproxy._fast.reactor cimport reactor_remove
from zeroproxy._fast.relay cimport (
    relay_accept,
    relay_begin_drain,
    relay_close_all,
    relay_install,
    run_later,
)
from zeroproxy._fast.ring cimport Ring, ring_close, ring_init, ring_len, ring_pop
from zeroproxy._fast.snapshot cimport read_plane, read_record
from zeroproxy._fast.sock cimport EPOLLET, EPOLLIN
from zeroproxy._fast.stats cimport Stats
from zeroproxy._fast.timer cimport timer_disarm, timer_init, wheel_close, wheel_init, wheel_run
from zeroproxy._fast.timer cimport wheel_sync
from zeroproxy._fast.types cimport BLOCK_LARGE, FIELDS_MAX, SLACK

IS_DEBUG = bool(ZP_DEBUG)

cdef enum:
    # Rounds of epoll_wait per wake-up: enough to swallow a burst, few enough that the loop's own
    # tasks (admin, health) never wait long; what is left makes the epoll set readable again.
    ROUNDS = 8


cdef void on_timer(void *plane, void *owner, uint32_t events) noexcept nogil:
    wheel_run(&(<Plane *>plane).wheel, <Plane *>plane)


cdef void on_listener(void *plane, void *owner, uint32_t events) noexcept nogil:
    relay_accept(<Plane *>plane, <uint32_t><size_t>owner)


cdef void on_listener_due(void *plane, void *owner) noexcept nogil:
    cdef Listener *l = &(<Plane *>plane).listeners[<size_t>owner]
    l.paused = 0
    relay_accept(<Plane *>plane, <uint32_t><size_t>owner)


cdef bint accept_pending(Plane *p) noexcept nogil:
    cdef uint32_t i
    cdef bint more = 0
    for i in range(p.n_listeners):
        if p.listeners[i].pending:
            relay_accept(p, i)
            more |= p.listeners[i].pending
    return more


cdef bint drain_plane(Plane *p) noexcept nogil:
    """Everything that is ready now; 1: there is more, come again soon."""
    cdef int rounds = 0, n = 1
    cdef bint more = 0
    while rounds < ROUNDS and (n or more):
        rounds += 1
        n = reactor_poll(&p.reactor, p)
        more = accept_pending(p) | run_later(p)
        if n < 64 and not more:
            break
    wheel_sync(&p.wheel)
    return more


cdef uint64_t ns(double seconds) except? 0:
    if seconds < 0:
        raise ValueError(f"a time limit cannot be negative: {seconds}")
    return <uint64_t>(seconds * 1e9)


cdef class Engine:
    """One worker's data plane. Use it from the loop's thread only, except `records`."""

    cdef Plane *p
    cdef Ring ring
    cdef Stats *stats
    cdef list names         # per upstream: (name, [url, ...])
    cdef bint is_open

    def __cinit__(self):
        self.p = <Plane *>calloc(1, sizeof(Plane))
        self.stats = <Stats *>calloc(1, sizeof(Stats))
        if self.p == NULL or self.stats == NULL:
            raise MemoryError
        self.names = []
        self.p.reactor.epoll_fd = -1
        self.p.wheel.timer_fd = -1

    def __init__(self, *, limits, via=True, trust_forwarded=False, ring_slots=4096):
        """`limits`: any object with the fields of config.Limits; connections must be positive."""
        cdef Plane *p = self.p
        if self.is_open:
            raise RuntimeError("an Engine is initialised once")
        if ring_slots < 2 or ring_slots & (ring_slots - 1):
            raise ValueError(f"ring_slots must be a power of two, not {ring_slots}")
        self.read_limits(limits)
        p.adds_via = via
        p.trusts_forwarded = trust_forwarded
        p.now_ns = clock_monotonic_ns()
        pool_init(&p.blocks)
        relay_install(p)
        p.scratch = <char *>malloc(BLOCK_LARGE + 2 * SLACK)
        p.compose = <char *>malloc(BLOCK_LARGE + SLACK)
        if p.scratch == NULL or p.compose == NULL or ring_init(&self.ring, ring_slots) < 0:
            raise MemoryError
        p.ring = &self.ring
        p.stats = self.stats
        if reactor_init(&p.reactor) < 0 or wheel_init(&p.wheel, p.now_ns) < 0:
            raise OSError("cannot make an epoll set and a timer: out of descriptors")
        if identity_init(p) < 0 or reactor_add(
            &p.reactor, p.wheel.timer_fd, EPOLLIN | EPOLLET, on_timer, NULL
        ) < 0:
            raise OSError("cannot seed request ids or watch the timer")
        self.is_open = True

    cdef int read_limits(self, limits) except -1:
        cdef Limits *l = &self.p.limits
        l.request.line_bytes = limits.header_line_bytes
        l.request.head_bytes = limits.header_bytes
        l.request.field_count = min(limits.header_count, <int>FIELDS_MAX)
        l.response.line_bytes = l.response.head_bytes = 49152
        l.response.field_count = FIELDS_MAX
        l.body_bytes = limits.body_bytes
        l.connections = limits.connections
        l.interims = limits.interim_responses
        l.extra_bytes = limits.chunk_extra_bytes
        l.header_ns = ns(limits.header_timeout)
        l.body_ns = ns(limits.body_timeout)
        l.idle_ns = ns(limits.idle_timeout)
        l.stall_ns = ns(limits.write_stall_timeout)
        l.linger_ns = ns(limits.linger_timeout)
        l.tunnel_ns = ns(limits.tunnel_idle_timeout)
        return 0

    # ------------------------------------------------------------ upstreams

    def add_upstream(self, name, endpoints, *, balance, max_inflight, queue, queue_timeout,
                     connect, first_byte, stream_idle, total, attempts, retry_on_busy):
        """`endpoints`: (url, sockaddr bytes, authority bytes, weight, max_idle, idle_timeout s)
        each; times in seconds, 0: none. Returns the index of the upstream."""
        cdef Plane *p = self.p
        cdef Upstream *u = <Upstream *>calloc(1, sizeof(Upstream))
        cdef void *grown = realloc(p.upstreams, (p.n_upstreams + 1) * sizeof(Upstream *))
        if u == NULL or grown == NULL:
            raise MemoryError
        p.upstreams = <Upstream **>grown
        u.index = p.n_upstreams
        u.balance = balance
        u.max_inflight = max_inflight
        u.queue_max = queue
        u.queue_ns = ns(queue_timeout)
        u.connect_ns = ns(connect)
        u.first_byte_ns = ns(first_byte)
        u.stream_idle_ns = ns(stream_idle)
        u.total_ns = ns(total)
        u.attempts = attempts
        u.retry_on_busy = retry_on_busy
        u.endpoints = <Endpoint **>calloc(max(len(endpoints), 1), sizeof(Endpoint *))
        p.upstreams[p.n_upstreams] = u
        p.n_upstreams += 1
        self.names.append((name, [e[0] for e in endpoints]))
        for spec in endpoints:
            self.add_endpoint(u, spec)
        return u.index

    cdef int add_endpoint(self, Upstream *u, tuple spec) except -1:
        cdef Plane *p = self.p
        cdef bytes addr = spec[1], authority = spec[2]
        cdef Endpoint *e = <Endpoint *>calloc(1, sizeof(Endpoint))
        cdef void *grown = realloc(p.endpoints, (p.n_endpoints + 1) * sizeof(Endpoint *))
        if e == NULL or grown == NULL:
            raise MemoryError
        if len(addr) > sizeof(e.addr) or len(authority) > sizeof(e.authority):
            raise ValueError(f"the address of {spec[0]} is too long")
        p.endpoints = <Endpoint **>grown
        e.upstream = u
        e.index = p.n_endpoints
        e.up = 1
        e.addr_len = <uint32_t>len(addr)
        memcpy(e.addr, <const char *>addr, len(addr))
        e.authority_len = <uint32_t>len(authority)
        memcpy(e.authority, <const char *>authority, len(authority))
        e.weight = max(spec[3], 1)
        e.max_idle = spec[4]
        e.idle_timeout_ns = ns(spec[5])
        u.endpoints[u.n_endpoints] = e
        u.n_endpoints += 1
        p.endpoints[p.n_endpoints] = e
        p.n_endpoints += 1
        return 0

    cdef Endpoint *endpoint_at(self, index) except NULL:
        if not 0 <= index < self.p.n_endpoints:
            raise IndexError(f"no endpoint {index}")
        return self.p.endpoints[index]

    def set_endpoint(self, index, *, up=None, draining=None, weight=None):
        """Write the words of one endpoint; one that leaves rotation loses its idle conns."""
        cdef Endpoint *e = self.endpoint_at(index)
        if up is not None:
            e.up = bool(up)
        if draining is not None:
            e.draining = bool(draining)
        if weight is not None:
            e.weight = max(int(weight), 1)
        if not e.up or e.draining:
            endpoint_drop_idle(self.p, e)

    def prewarm(self, index, n):
        """Begin to open conns until `n` are idle or under way; returns how many were begun."""
        cdef Endpoint *e = self.endpoint_at(index)
        cdef uint32_t begun
        self.p.now_ns = clock_monotonic_ns()
        begun = endpoint_prewarm(self.p, e, min(n, e.max_idle))
        wheel_sync(&self.p.wheel)
        return begun

    # ------------------------------------------------------------ the loop

    def listen(self, int fd, bint is_unix=False):
        """Accept on a listening, non-blocking descriptor. The caller keeps it open until
        `stop_listening` or `close`. Returns the listener's index."""
        cdef Plane *p = self.p
        cdef size_t i = p.n_listeners
        cdef int64_t slot
        cdef Listener *l
        if i == 16:
            raise ValueError("at most 16 listeners")
        if p.listeners == NULL:
            # Never moved: the timers inside are linked into the wheel.
            p.listeners = <Listener *>calloc(16, sizeof(Listener))
            if p.listeners == NULL:
                raise MemoryError
        l = &p.listeners[i]
        slot = reactor_add(&p.reactor, fd, EPOLLIN | EPOLLET, on_listener, <void *>i)
        if slot < 0:
            raise OSError(f"cannot watch descriptor {fd}")
        l.fd = fd
        l.slot = <uint32_t>slot
        l.is_unix = is_unix
        l.plane = p
        timer_init(&l.timer, on_listener_due, <void *>i)
        p.n_listeners += 1
        return i

    def stop_listening(self):
        """Forget the listeners; their descriptors may be closed after that."""
        cdef uint32_t i
        for i in range(self.p.n_listeners):
            if self.p.listeners[i].fd >= 0:
                timer_disarm(&self.p.wheel, &self.p.listeners[i].timer)
                reactor_remove(&self.p.reactor, self.p.listeners[i].slot)
                self.p.listeners[i].fd = -1
                self.p.listeners[i].pending = 0

    def fileno(self):
        return self.p.reactor.epoll_fd

    def on_ready(self):
        """Do all that is ready, without the GIL. True: call again soon."""
        cdef Plane *p = self.p
        cdef bint more = 0
        if self.is_open:
            with nogil:
                more = drain_plane(p)
        return more

    def drain(self):
        """Every exchange is its conn's last from now on; idle conns are closed."""
        self.p.now_ns = clock_monotonic_ns()
        with nogil:
            relay_begin_drain(self.p)
        self.on_ready()

    def close_all(self):
        """Cut what still runs; each leaves its record."""
        self.p.now_ns = clock_monotonic_ns()
        with nogil:
            relay_close_all(self.p)
        self.on_ready()

    def busy(self):
        """How many downstream conns are open."""
        return self.p.counters.relays

    # ------------------------------------------------------------ what it knows

    def snapshot(self):
        """Counters, gauges and histograms; the shape is admin's contract (docs/admin.md)."""
        found = read_plane(self.p, self.stats, self.names)
        found["ring"] = {"records": ring_len(&self.ring), "overflow": self.ring.n_overflow}
        return found

    def records(self, n):
        """Take up to `n` finished exchanges from the ring, as dicts. One consumer thread only."""
        cdef Record record
        found = []
        while len(found) < n and ring_pop(&self.ring, &record):
            found.append(read_record(&record, self.names))
        return found

    def close(self):
        """Give everything back. Open exchanges are cut. Twice is harmless."""
        cdef Plane *p = self.p
        cdef uint32_t i
        if not self.is_open:
            return
        self.close_all()
        self.stop_listening()
        for i in range(p.n_endpoints):
            endpoint_drop_idle(p, p.endpoints[i])
        self.is_open = False
        reactor_close(&p.reactor)
        wheel_close(&p.wheel)

    def __dealloc__(self):
        cdef Plane *p = self.p
        cdef uint32_t i
        cdef Conn *c
        if p == NULL:
            return
        for i in range(p.n_relays):
            free(p.relays[i])
        free(p.relays)
        while p.free_conns != NULL:
            c = p.free_conns
            p.free_conns = c.next
            free(c)
        for i in range(p.n_endpoints):
            free(p.endpoints[i])
        free(p.endpoints)
        for i in range(p.n_upstreams):
            free(p.upstreams[i].endpoints)
            free(p.upstreams[i])
        free(p.upstreams)
        free(p.listeners)
        free(p.scratch)
        free(p.compose)
        pool_close(&p.blocks)
        ring_close(&self.ring)
        free(self.stats)
        free(p)
