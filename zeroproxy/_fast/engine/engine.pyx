"""The Engine API: all that Python may do with the data plane.

    engine = Engine(limits=...)             no descriptor of the outside world yet
    with engine.change() as change: ...     settings, whole or not at all (change.pyx)
    engine.listen(fd)                       a listening, non-blocking descriptor, borrowed
    engine.start()                          a thread of its own works from now on
    engine.drain(); engine.close()          the end

Law 1. One convention. A method takes its subject (an index, a value) by position, all else by
       keyword. Settings are typed objects (settings_types.py), members of C enums are strings
       (enum_names.pyx). A wrong type is a TypeError, a value out of range a ValueError, an unknown
       index an IndexError. Each names its argument, and nothing has changed.
Law 2. A method may be called by any Python thread unless its docstring names one. It waits for the
       others and holds the plane lock (thread.pyx). Only the ring's consumer takes no lock.
Law 3. Nothing here runs per request. Adding a method is a design decision (docs/internals.md).
Tests: tests/relay/test_engine_api.py, tests/relay/test_thread.py.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from zeroproxy._fast.engine.change cimport Change
from zeroproxy._fast.engine.health_sample cimport read_health_samples
from zeroproxy._fast.engine.key_calls cimport Keys
from zeroproxy._fast.engine.learned_state cimport read_learned
from zeroproxy._fast.engine.listeners cimport (
    accept_all_pending,
    listen_on,
    listeners_free,
    stop_listening,
)
from zeroproxy._fast.engine.names cimport Names
from zeroproxy._fast.engine.record_values cimport read_record, take_overflow_rows
from zeroproxy._fast.engine.registry cimport registry_free, registry_set_models
from zeroproxy._fast.engine.relay_callbacks cimport (
    relay_begin_drain,
    relay_begin_settle,
    relay_close_all,
    relay_install,
)
from zeroproxy._fast.engine.settings cimport parse_limits
from zeroproxy._fast.engine.status_values cimport read_plane
from zeroproxy._fast.engine.tenant_indices cimport Tenants
from zeroproxy._fast.engine.token_values cimport read_tokens, tokens_free
from zeroproxy._fast.engine.values cimport flag, index_in, ns, number, whole
from zeroproxy._fast.exchange.end_exchanges_of_dead_endpoint cimport end_silent
from zeroproxy._fast.exchange.exchange_ids cimport seed_ids
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
from zeroproxy._fast.upstream.conn_pool cimport endpoint_drop_idle
from zeroproxy._fast.upstream.prewarm cimport prewarm_stop
from zeroproxy._fast.usage.stats cimport Stats, stats_close, stats_init

IS_DEBUG = bool(ZP_DEBUG)

cdef enum:
    RING_MOST = 1 << 30
    FD_MOST = 0x7FFFFFFF


cdef void on_timer(void *plane, void *owner, uint32_t events) noexcept nogil:
    wheel_run(&(<Plane *>plane).wheel, <Plane *>plane)


cdef class Engine(Keys):
    """The data plane of this process."""

    cdef Ring ring
    cdef Stats *stats
    cdef Tenants tenants

    def __cinit__(self):
        self.stats = <Stats *>calloc(1, sizeof(Stats))
        if self.stats == NULL or stats_init(self.stats) < 0:
            raise MemoryError
        self.tenants = Tenants()
        self.names = Names(self.tenants.names)

    def __init__(
        self, *, limits, via=True, trust_forwarded=False, serve_half_close=False, ring_slots=4096,
    ):
        """`limits` and the switches: as set_limits and set_switches. `ring_slots`: records that
        wait for the consumer at most, a power of two. Raises OSError: out of descriptors."""
        cdef Plane *p = self.p
        cdef uint64_t slots = whole(ring_slots, "ring_slots", 2, RING_MOST)
        if self.is_open:
            raise RuntimeError("an Engine is initialised once")
        if slots & (slots - 1):
            raise ValueError(f"ring_slots: {slots} is no power of two")
        parse_limits(&p.limits, limits)
        p.adds_via = flag(via, "via")
        p.trusts_forwarded = flag(trust_forwarded, "trust_forwarded")
        p.serves_half_close = flag(serve_half_close, "serve_half_close")
        p.now_ns = clock_monotonic_ns()
        pool_init(&p.blocks)
        relay_install(p)
        p.scratch = <char *>malloc(BLOCK_LARGE + 2 * SLACK)
        p.compose = <char *>malloc(BLOCK_LARGE + SLACK)
        p.send_batch.bytes = <char *>alloc_lines(SEND_BATCH_BYTES)
        if p.scratch == NULL or p.compose == NULL or p.send_batch.bytes == NULL:
            raise MemoryError
        if ring_init(&self.ring, slots) < 0:
            raise MemoryError
        p.ring = &self.ring
        p.keys.n_tenants = 1
        p.stats = self.stats
        if reactor_init(&p.reactor) < 0 or wheel_init(&p.wheel, p.now_ns) < 0:
            raise OSError("cannot make an epoll set and a timer: out of descriptors")
        if seed_ids(p) < 0 or reactor_add(
            &p.reactor, p.wheel.timer_fd, EPOLLIN | EPOLLET, on_timer, NULL
        ) < 0:
            raise OSError("cannot seed request ids or watch the timer")
        self.is_open = True

    def change(self):
        """A context for several steps. At its end all are put in force at once; after an error none
        is. API calls of other threads wait meanwhile."""
        return Change(self, self.names, self.tenants)

    def set_limits(self, limits):
        """`limits`: config.Limits, `connections` at least 1. An exchange that has begun keeps
        its limits."""
        with self.change() as change:
            change.set_limits(limits)

    def set_switches(self, *, via, trust_forwarded, serve_half_close):
        """`via`: a Via field is added. `trust_forwarded`: a caller's Forwarded fields are passed
        on. `serve_half_close`: a FIN behind a request does not abort it. All bool."""
        with self.change() as change:
            change.set_switches(
                via=via, trust_forwarded=trust_forwarded, serve_half_close=serve_half_close
            )

    def set_keepalive(self, after):
        """Send a comment to a caller whose event stream is silent for `after` seconds; 0: never.
        None: a third of the read timeout that the caller announces. From the next head on."""
        with self.change() as change:
            change.set_keepalive(after)

    def set_cors(self, cors):
        """`cors`: config.Cors; without origins CORS is off. An exchange that has begun keeps its
        lines."""
        with self.change() as change:
            change.set_cors(cors)

    def set_tracing(self, sample):
        """Make a span of every exchange. `sample`: the share, 0 to 1, of traces started here that
        are sampled; a caller's own flag is kept."""
        cdef double share = number(sample, "sample", 0, 1)
        cdef uint64_t below = min(int(share * 2 ** 64), 2 ** 64 - 1)
        with self:
            self.p.makes_spans = 1
            self.p.sample_below = below

    # ------------------------------------------------------------ upstreams

    def add_upstream(self, name, *, settings, endpoints=()):
        """A new upstream. `settings`: UpstreamSettings; `endpoints`: EndpointSettings. Returns its
        index."""
        with self.change() as change:
            return change.add_upstream(name, settings=settings, endpoints=endpoints)

    def set_routes(self, routes, *, default):
        """`routes`: a Route each; empty: all requests go to the first upstream. `default`: the
        index of the upstream of all other models; None: those get a 404."""
        with self.change() as change:
            change.set_routes(routes, default=default)

    def set_surfaces(self, surfaces):
        """`surfaces`: a SurfaceSettings for each upstream, for exchanges that begin from now on.
        Without any, everything passes."""
        with self.change() as change:
            change.set_surfaces(surfaces)

    def set_models(self, bytes body):
        """Set the body of the local reply to GET /v1/models; None: the request is passed on."""
        with self:
            registry_set_models(self.p, body)

    def set_upstream(self, index, *, settings):
        """`settings`: UpstreamSettings, for exchanges that begin from now on."""
        with self.change() as change:
            change.set_upstream(index, settings=settings)

    def set_tls(self, context, *, upstream=None, server_name=b""):
        """Set the TLS context of conns opened from now on: those accepted on TCP. With `upstream`
        (an index): those to its https:// endpoints, whose idle conns are closed. None: in the
        clear, for listeners only. `server_name`: the name that certificates of its endpoints need;
        b"": each its own host."""
        with self.change() as change:
            change.set_tls(context, upstream=upstream, server_name=server_name)

    def add_endpoint(self, index, *, settings):
        """A new endpoint of the upstream at `index`. `settings`: EndpointSettings. Returns its own
        index: the one it had before if it was removed and has the same URL and address."""
        with self.change() as change:
            return change.add_endpoint(index, settings=settings)

    def remove_endpoint(self, index):
        """Remove an endpoint: its idle conns are closed, its exchanges finish."""
        with self.change() as change:
            change.remove_endpoint(index)

    def set_endpoint(
        self, index, *, up=None, draining=None, weight=None, usage_request=None, load=None,
        probe_ok=None, model_len=None, loading=None
    ):
        """Change settings of an endpoint; None: stays as it is. `up`, `draining`: one that leaves
        rotation loses its idle conns. `weight`: at least 1. `usage_request`: one of
        USAGE_REQUESTS, for requests that ask for none. `load`: a ReportedLoad. `probe_ok`: its
        last health probe was answered well. `loading`: it was not, so a 503 is no answer where
        requests are held. `model_len`: tokens of its longest model, 0: not known. Without effect
        on a removed endpoint."""
        with self.change() as change:
            change.set_endpoint(
                index, up=up, draining=draining, weight=weight, usage_request=usage_request,
                load=load, probe_ok=probe_ok, model_len=model_len, loading=loading,
            )

    def set_pool(self, index, *, settings):
        """`settings`: config.Pool, of the endpoint at `index`. Prewarming begins at once."""
        with self.change() as change:
            change.set_pool(index, settings=settings)

    def set_learned(self, index, *, learned):
        """Go on with an endpoint where another process was. `learned`: Learned. Facts that the
        settings do not use, or that were found out here, stay."""
        with self.change() as change:
            change.set_learned(index, learned=learned)

    # ------------------------------------------------------------ work

    def listen(self, fd, *, is_unix=False, allow_from=(), proxy_from=None):
        """Accept on a listening, non-blocking descriptor. The caller keeps it open until
        `stop_listening` or `close`. `allow_from`: networks of callers; empty: all. `proxy_from`:
        networks whose conns begin with the PROXY protocol, others are closed; None: none does.
        Returns the listener's index. Raises OSError: it cannot be watched; ValueError: there are
        16."""
        cdef int listening = <int>whole(fd, "fd", 0, FD_MOST)
        cdef bint is_local = flag(is_unix, "is_unix")
        with self:
            return listen_on(self.p, listening, is_local, allow_from, proxy_from)

    def stop_listening(self):
        """Accept conns that wait, then forget the listeners; their descriptors may be closed
        then."""
        with self:
            accept_all_pending(self.p)
            stop_listening(self.p)

    def settle(self):
        """Announce a drain: from now on every response closes its conn. New conns are served, and
        those that were announced nothing stay open."""
        with self:
            relay_begin_settle(self.p)

    def drain(self, *, spare_idle=False):
        """Let every exchange be its conn's last from now on. Idle conns are closed; those without a
        request yet after a second. `spare_idle`: the others, too, have that second."""
        cdef bint spares = flag(spare_idle, "spare_idle")
        with self:
            relay_begin_drain(self.p, spares)
        self.work_by_hand()

    def close_all(self):
        """Cut the exchanges that still run; each leaves its record."""
        with self:
            relay_close_all(self.p)
        self.work_by_hand()

    def busy(self):
        """The number of downstream conns that are open."""
        with self:
            return self.p.counters.relays

    # ------------------------------------------------------------ state

    def snapshot(self):
        """Counters, gauges and histograms; the shape is admin's contract (docs/admin.md)."""
        with self.lock:
            found = read_plane(self, self.stats, self.names)
            found["auth"] = {
                "on": bool(self.p.keys.is_on), "unknown": self.p.keys.n_unknown,
                "quotas": self.quotas(), "keys": self.key_terms(),
                "tokens": read_tokens(&self.p.tokens),
            }
            found["ring"] = {"records": ring_len(&self.ring), "overflow": self.ring.n_overflow}
        return found

    def health_sample(self, *, after=1.0, only=None):
        """A HealthSample for each endpoint in force, or the one at index `only`: cheap, unlike a
        snapshot. A silence shorter than `after` seconds does not count."""
        cdef uint64_t silence = ns(after, "after")
        with self.lock:
            if only is not None:
                index_in(only, "only", self.p.n_endpoints)
            return read_health_samples(self, silence, only)

    def learned(self):
        """A LearnedSample for each endpoint in force: all that was found out about it."""
        with self.lock:
            return read_learned(self, self.names)

    def end_silent(self, index, *, seconds):
        """End the exchanges this endpoint has owed a byte for `seconds`; returns how many."""
        cdef uint64_t silence = ns(seconds, "seconds")
        cdef uint32_t at
        with self:
            at = index_in(index, "endpoint", self.p.n_endpoints)
            return end_silent(self.p, self.p.endpoints[at], silence)

    def records(self, n):
        """Take up to `n` finished exchanges from the ring, as dicts (record_values.pyx). For the
        consumer's thread only."""
        cdef Record record
        cdef uint64_t most = whole(n, "n", 0, RING_MOST)
        found = []
        while <uint64_t>len(found) < most and ring_pop(&self.ring, &record):
            found.append(read_record(&record, self.names))
        ring_finish(&self.ring)
        return found

    def await_records(self, n, *, seconds):
        """Sleep until the ring has `n` records or is half full, wake_consumer is called, or
        `seconds` have passed. It may return early. The consumer thread only."""
        cdef uint64_t enough = whole(n, "n", 0, RING_MOST), wait_ns = ns(seconds, "seconds")
        with nogil:
            ring_await(&self.ring, enough, wait_ns)

    def wake_consumer(self):
        """End its sleep; if it is awake, the next one. Any thread."""
        ring_wake(&self.ring)

    def take_overflow(self):
        """The growth of the overflow since the last such call, as dicts. The consumer thread
        only."""
        return take_overflow_rows(self.stats, self.names)

    def close(self):
        """Release everything. Open exchanges are cut. A second call does nothing."""
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
        listeners_free(p)
        tokens_free(p)
        free(p.scratch)
        free(p.compose)
        free(p.send_batch.bytes)
        pool_close(&p.blocks)
        ring_close(&self.ring)
        if self.stats != NULL:
            stats_close(self.stats)
        free(self.stats)
