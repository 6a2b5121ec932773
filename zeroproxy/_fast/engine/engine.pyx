"""A worker's data plane, and the doors Python has to it.

    Engine(...)              limits and switches; no descriptor of the outside world yet
    change()                 a context: several of the doors below made whole, or not at all
    add_upstream(...)        a group of endpoints; returns its index
    add_endpoint(i, spec)    one more for upstream i; remove_endpoint(i) takes it out again
    set_limits(...), set_switches(...), set_upstream(i, ...), set_keys(rows)
                             what a reload writes; exchanges that have begun keep their terms
    listen(fd)               accept on a listening, non-blocking descriptor (borrowed)
    start(), notify_fileno()   a thread of its own works from now on; readable: on_ready has news
    fileno(), on_ready()     without that thread, work by hand: readable when there is some, and
                             whether to call again soon
    alone                    a context: the plane does nothing meanwhile
    set_endpoint(i, ...)     the words policy writes: up, draining, weight, wish, load, probe_ok
    set_pool(i, ...)         how its idle conns live, and how many are kept warm
    set_tls(context, ...)    of the listeners, or of an upstream's https:// endpoints
    drain(), close_all()     every exchange its conn's last; then cut what still runs
    set_tracing(share)       make spans
    quotas(), set_quota(i, ...)  what keys may still take, and where that is shared
    snapshot()               counters, gauges, histograms, as plain dicts
    vitals()                 of each endpoint in force, what health looks at
    end_silent(i, s)         end what an endpoint that is gone has owed a byte for so long
    records(n), overflow()   the ring's consumer side, and what it did not take
    await_records(n, s)      its sleep; wake_consumer() ends it
    close()                  give everything back

Law. Adding a door is a design decision (ARCHITECTURE.md). Nothing here runs per request. Each door
     has the plane to itself (thread.pyx) and is open to any Python thread; but the ring has one
     consumer, who takes no turn.
Tests: tests/relay/test_thread.py.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from zeroproxy._fast.engine.api_key_table cimport api_keys_quotas, api_keys_set_quota
from zeroproxy._fast.engine.callbacks cimport relay_begin_drain, relay_close_all, relay_install
from zeroproxy._fast.engine.change cimport Change
from zeroproxy._fast.engine.health_sample cimport read_health_samples
from zeroproxy._fast.engine.listeners cimport accept_rest, listen_on, stop_listening
from zeroproxy._fast.engine.records cimport read_overflow, read_record, take_overflow_rows
from zeroproxy._fast.engine.registry cimport registry_free, registry_set_models
from zeroproxy._fast.engine.settings cimport parse_limits
from zeroproxy._fast.engine.snapshot cimport read_plane
from zeroproxy._fast.engine.tenant_table cimport Tenants
from zeroproxy._fast.engine.thread cimport PlaneThread
from zeroproxy._fast.exchange.silence cimport end_silent
from zeroproxy._fast.exchange.trace_context cimport trace_context_init
from zeroproxy._fast.memory.buffer cimport alloc_lines, pool_close, pool_init
from zeroproxy._fast.memory.ring cimport (
    Ring,
    ring_await,
    ring_close,
    ring_finish,
    ring_init,
    ring_len,
    ring_pop,
    ring_wake,
)
from zeroproxy._fast.net.reactor cimport reactor_add, reactor_close, reactor_init
from zeroproxy._fast.net.syscalls cimport EPOLLET, EPOLLIN
from zeroproxy._fast.net.timer cimport wheel_close, wheel_init, wheel_run
from zeroproxy._fast.types.clock cimport clock_monotonic_ns
from zeroproxy._fast.types.invariant cimport ZP_DEBUG
from zeroproxy._fast.types.memory cimport BLOCK_LARGE, SLACK
from zeroproxy._fast.types.plane cimport Plane
from zeroproxy._fast.types.reactor cimport SEND_BATCH_BYTES
from zeroproxy._fast.types.record cimport Record
from zeroproxy._fast.upstream.endpoint cimport endpoint_drop_idle
from zeroproxy._fast.upstream.prewarm cimport prewarm_stop
from zeroproxy._fast.usage.stats cimport Stats, stats_close, stats_init

IS_DEBUG = bool(ZP_DEBUG)


cdef void on_timer(void *plane, void *owner, uint32_t events) noexcept nogil:
    wheel_run(&(<Plane *>plane).wheel, <Plane *>plane)


cdef class Engine(PlaneThread):
    """One worker's data plane."""

    cdef Ring ring
    cdef Stats *stats
    cdef Tenants tenants
    cdef tuple names        # snapshot's: upstreams, endpoints, tenants; names of keys

    def __cinit__(self):
        self.stats = <Stats *>calloc(1, sizeof(Stats))
        if self.stats == NULL or stats_init(self.stats) < 0:
            raise MemoryError
        self.tenants = Tenants()
        self.names = ([], [], self.tenants.names, [])
        self.p.reactor.epoll_fd = -1
        self.p.wheel.timer_fd = -1

    def __init__(
        self, *, limits, via=True, trust_forwarded=False, serve_half_close=False, ring_slots=4096,
    ):
        """`limits`: any object with the fields of config.Limits; connections must be positive."""
        cdef Plane *p = self.p
        if self.is_open:
            raise RuntimeError("an Engine is initialised once")
        if ring_slots < 2 or ring_slots & (ring_slots - 1):
            raise ValueError(f"ring_slots must be a power of two, not {ring_slots}")
        parse_limits(&p.limits, limits)
        p.adds_via = via
        p.trusts_forwarded = trust_forwarded
        p.serves_half_close = serve_half_close
        p.now_ns = clock_monotonic_ns()
        pool_init(&p.blocks)
        relay_install(p)
        p.scratch = <char *>malloc(BLOCK_LARGE + 2 * SLACK)
        p.compose = <char *>malloc(BLOCK_LARGE + SLACK)
        p.send_batch.bytes = <char *>alloc_lines(SEND_BATCH_BYTES)
        if p.scratch == NULL or p.compose == NULL or p.send_batch.bytes == NULL:
            raise MemoryError
        if ring_init(&self.ring, ring_slots) < 0:
            raise MemoryError
        p.ring = &self.ring
        p.keys.n_tenants = 1
        p.stats = self.stats
        if reactor_init(&p.reactor) < 0 or wheel_init(&p.wheel, p.now_ns) < 0:
            raise OSError("cannot make an epoll set and a timer: out of descriptors")
        if trace_context_init(p) < 0 or reactor_add(
            &p.reactor, p.wheel.timer_fd, EPOLLIN | EPOLLET, on_timer, NULL
        ) < 0:
            raise OSError("cannot seed request ids or watch the timer")
        self.is_open = True

    def change(self):
        """A context in which what is set is prepared, and which puts all of it in force at its end;
        after an error, nothing."""
        return Change(self, self.names, self.tenants)

    def set_limits(self, limits):
        """New limits; an exchange that has begun keeps its own."""
        with self.change() as change:
            change.set_limits(limits)

    def set_switches(self, *, via, trust_forwarded, serve_half_close=False):
        with self.change() as change:
            change.set_switches(
                via=via, trust_forwarded=trust_forwarded, serve_half_close=serve_half_close
            )

    def set_tracing(self, sample):
        """Make a span of every exchange. `sample`: share of the traces begun here that are sampled,
        0 to 1; a caller's own flag is kept."""
        cdef uint64_t below = min(int(sample * 2 ** 64), 2 ** 64 - 1)
        with self:
            self.p.makes_spans = 1
            self.p.sample_below = below

    # ------------------------------------------------------------ upstreams

    def add_upstream(self, name, endpoints, **settings):
        """`endpoints`: what add_endpoint takes, each; `settings`: all those of set_upstream.
        Returns the index of the upstream."""
        with self.change() as change:
            return change.add_upstream(name, endpoints, **settings)

    def set_routes(self, routes, default):
        """`routes`: (model, index of its upstream, what the server calls it as JSON or b"") each;
        `default`: the upstream of all others, None: they are answered 404. No routes: all to the
        first."""
        with self.change() as change:
            change.set_routes(routes, default)

    def set_models(self, bytes body):
        """What GET /v1/models is answered here; None: it is passed on."""
        with self:
            registry_set_models(self.p, body)

    def set_upstream(self, index, **settings):
        """balance, max_inflight (per endpoint), queue, queue_timeout, connect, first_byte,
        stream_idle, total, attempts, retry_on_busy; if need be min_inflight, ttft_target,
        tenant_share, hedge_after, hedge_budget (see config/upstream.py), breaker and key (dicts;
        absent: off), api_key (bytes; absent: none), cookies (absent: they stay here); times in
        seconds, 0: none."""
        with self.change() as change:
            change.set_upstream(index, **settings)

    def set_tls(self, context, *, upstream=None, bytes server_name=b""):
        """Conns opened from now on: those accepted on TCP, or with `upstream` (an index) those to
        its https:// endpoints, whose idle conns go. None: in the clear, for listeners only."""
        with self.change() as change:
            change.set_tls(context, upstream=upstream, server_name=server_name)

    def add_endpoint(self, index, spec):
        """`spec`: (url, sockaddr bytes, authority bytes, weight, words of set_pool, and for TLS its
        host as bytes). Returns its index: the one it had before if it was removed and has the same
        address."""
        with self.change() as change:
            return change.add_endpoint(index, spec)

    def remove_endpoint(self, index):
        """Take an endpoint out for good: its idle conns go, its exchanges finish."""
        with self.change() as change:
            change.remove_endpoint(index)

    def set_endpoint(self, index, **settings):
        """Change settings of one endpoint; one that leaves rotation loses its idle conns. A removed
        endpoint takes no setting. `usage_request`: asked for on a caller's behalf, 0 nothing, 1
        usage at the end, 2 with every event, 3 the same where either comes without the other.
        `load`: reported by the server, (running, waiting, share of its cache or -1, seconds until
        that is forgotten). `probe_ok`: its last health probe was answered well."""
        with self.change() as change:
            change.set_endpoint(index, **settings)

    def set_pool(self, index, **settings):
        """max_idle, idle_timeout, max_age, max_requests, max_connections, learns, prewarm,
        prewarm_idle, all of them; times in seconds, 0: none. Begins to warm at once."""
        with self.change() as change:
            change.set_pool(index, **settings)

    def set_keys(self, rows, forward=False):
        """Who may ask from now on; running exchanges keep theirs. `rows`: None, everybody; or the
        KeyRows of engine.pyi: no models are all, 0 is no quota. `forward`: callers' keys go on to
        upstreams without their own. Returns the index of each row's key."""
        with self.change() as change:
            return change.set_keys(rows, forward)

    def quotas(self, used_only=False):
        """What is in each quota, as dicts; `used_only`: of keys used since the last such call."""
        with self.lock:
            return api_keys_quotas(self, self.names, used_only)

    def set_quota(self, index, quota, **settings):
        """speed and cap: it fills by itself, this much a minute. speed, level and used: `level` was
        granted when it had used `used`, and no more comes by itself."""
        with self:
            api_keys_set_quota(self.p, index, quota, settings)

    # ------------------------------------------------------------ work

    def listen(self, int fd, bint is_unix=False):
        """Accept on a listening, non-blocking descriptor. The caller keeps it open until
        `stop_listening` or `close`. Returns the listener's index."""
        with self:
            return listen_on(self.p, fd, is_unix)

    def stop_listening(self):
        """Accept who waits, then forget the listeners; their descriptors may be closed after
        that."""
        with self:
            accept_rest(self.p)
            stop_listening(self.p)

    def drain(self):
        """Every exchange its conn's last from now on; idle conns are closed, those on which
        nothing was asked yet after a second."""
        with self:
            relay_begin_drain(self.p)
        self.work_by_hand()

    def close_all(self):
        """Cut what still runs; each leaves its record."""
        with self:
            relay_close_all(self.p)
        self.work_by_hand()

    def busy(self):
        """How many downstream conns are open."""
        with self:
            return self.p.counters.relays

    # ------------------------------------------------------------ what it knows

    def snapshot(self):
        """Counters, gauges and histograms; the shape is admin's contract (docs/admin.md)."""
        with self.lock:
            found = read_plane(self, self.stats, self.names)
            found["auth"] = {
                "on": bool(self.p.keys.is_on), "unknown": self.p.keys.n_unknown,
                "quotas": self.quotas(),
            }
            found["ring"] = {"records": ring_len(&self.ring), "overflow": self.ring.n_overflow}
        return found

    def health_sample(self, after=1.0, only=None):
        """In flight, silence and breaker of each endpoint in force, or of the one at `only`: cheap,
        unlike a snapshot. A silence shorter than `after` seconds is none."""
        with self.lock:
            return read_health_samples(self, int(after * 1e9), only)

    def end_silent(self, index, seconds):
        """End the exchanges this endpoint has owed a byte for so long; returns how many."""
        cdef uint32_t at = index
        with self:
            if at >= self.p.n_endpoints:
                raise IndexError(f"no endpoint {index}")
            return end_silent(self.p, self.p.endpoints[at], int(seconds * 1e9))

    def records(self, n):
        """Take up to `n` finished exchanges from the ring, as dicts. One consumer thread only."""
        cdef Record record
        found = []
        while len(found) < n and ring_pop(&self.ring, &record):
            found.append(read_record(&record, self.names))
        ring_finish(&self.ring)
        return found

    def await_records(self, n, seconds):
        """Sleep until the ring has `n` records or is half full, somebody calls wake_consumer, or
        `seconds` are over. It may return early. The consumer thread only."""
        cdef uint64_t enough = n, ns = int(seconds * 1e9)
        with nogil:
            ring_await(&self.ring, enough, ns)

    def wake_consumer(self):
        """End its sleep; if it is awake, the next one. Any thread."""
        ring_wake(&self.ring)

    def overflow(self):
        """What the ring did not take, added up since the start, as dicts."""
        with self:
            return read_overflow(self.stats, self.names)

    def take_overflow(self):
        """What that has grown by since the last such call. The consumer thread only."""
        return take_overflow_rows(self.stats, self.names)

    def close(self):
        """Give everything back. Open exchanges are cut. Twice is harmless."""
        cdef Plane *p = self.p
        cdef uint32_t i
        if not self.is_open:
            return
        self.halt()
        with self:
            self.close_all()
            stop_listening(p)
            for i in range(p.n_endpoints):
                prewarm_stop(p, p.endpoints[i])
                endpoint_drop_idle(p, p.endpoints[i])
            self.is_open = False
            reactor_close(&p.reactor)
            wheel_close(&p.wheel)

    def __dealloc__(self):
        cdef Plane *p = self.p
        if p == NULL:
            return
        registry_free(p)
        free(p.listeners)
        free(p.scratch)
        free(p.compose)
        free(p.send_batch.bytes)
        pool_close(&p.blocks)
        ring_close(&self.ring)
        if self.stats != NULL:
            stats_close(self.stats)
        free(self.stats)
