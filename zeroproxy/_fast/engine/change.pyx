"""A change of settings: prepared step by step, then put in force at once under the plane lock.

    with engine.change() as change:
        change.set_upstream(0, settings=...)
        change.set_keys(keys)

Law 1. Whole or not at all. An error inside the block or at its end leaves the plane as it was. To
       apply the steps cannot fail, and no request meets one half of the old and one of the new.
Law 2. Until then the plane's thread works on, and other API calls wait. The steps are applied
       without the GIL, so that Python code cannot delay the plane.
Law 3. A step that failed spoils the change, its arguments included: a method takes its Step before
       all else. If its error is caught inside the block, the end raises a RuntimeError, and nothing
       is in force.
Tests: tests/relay/test_change.py, tests/relay/test_thread.py, tests/relay/test_engine_api.py.
"""

from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from zeroproxy._fast.engine.api_key_table cimport api_keys_stage
from zeroproxy._fast.engine.change_steps cimport (
    stage_endpoint,
    stage_keepalive,
    stage_limits,
    stage_pool,
    stage_switches,
    stage_tls,
    stage_upstream,
)
from zeroproxy._fast.engine.cors_table cimport stage_cors
from zeroproxy._fast.engine.learned_state cimport stage_learned
from zeroproxy._fast.engine.names cimport Names
from zeroproxy._fast.engine.registry cimport (
    registry_add_upstream,
    registry_join,
    registry_remove,
    registry_stage_endpoint,
    registry_undo_endpoint,
    registry_undo_upstream,
)
from zeroproxy._fast.engine.route_table cimport stage_routes
from zeroproxy._fast.engine.settings cimport check_endpoint
from zeroproxy._fast.engine.surface_table cimport stage_surfaces
from zeroproxy._fast.engine.tenant_indices cimport Tenants
from zeroproxy._fast.engine.thread cimport PlaneThread
from zeroproxy._fast.engine.tls_context cimport Context
from zeroproxy._fast.engine.token_values cimport stage_tokens
from zeroproxy._fast.engine.values cimport demand_type, flag, index_in
from zeroproxy._fast.types.change cimport Step
from zeroproxy._fast.types.plane cimport Endpoint, Plane, Upstream
from zeroproxy._fast.usage.stats cimport SeriesTable, Stats, series_move, series_stage


cdef void apply_series(Plane *p, void *what) noexcept nogil:
    cdef SeriesTable *grown = <SeriesTable *>what
    cdef Stats *stats = <Stats *>p.stats
    if grown.at == NULL:
        return                  # the old one is large enough
    series_move(grown, &stats.series, p)
    stats.series, grown[0] = grown[0], stats.series


cdef void discard_series(void *what) noexcept nogil:
    free((<SeriesTable *>what).at)
    free(what)


cdef class Change:
    """A context from Engine.change(). Its methods are the setters of Engine, each a step: they
    accept, return and raise the same. For the thread that entered it."""

    def __cinit__(self, PlaneThread engine, Names names, Tenants tenants):
        self.engine, self.names, self.tenants = engine, names, tenants
        self.secured = set()
        self.key_names = {}

    def __enter__(self):
        self.engine.lock.acquire()
        self.n_models = self.engine.p.n_routes
        return self

    def __exit__(self, kind, *_):
        try:
            try:
                if kind is None:
                    self.stage_series()
                    self.commit()
            finally:
                if self.n_steps or self.n_made or self.n_added:
                    self.undo()
        finally:
            self.engine.lock.release()

    def __dealloc__(self):
        self.discard()
        free(self.steps)

    cdef Step *step(self) except NULL:
        """The next step, empty."""
        cdef uint32_t cap = max(2 * self.cap_steps, 16)
        cdef void *grown
        if self.n_steps == self.cap_steps:
            grown = realloc(self.steps, cap * sizeof(Step))
            if grown == NULL:
                raise MemoryError
            self.steps = <Step *>grown
            self.cap_steps = cap
        memset(&self.steps[self.n_steps], 0, sizeof(Step))
        self.n_steps += 1
        return &self.steps[self.n_steps - 1]

    cdef Upstream *upstream_at(self, index) except NULL:
        cdef Plane *p = self.engine.p
        return p.upstreams[index_in(index, "upstream", p.n_upstreams)]

    cdef Endpoint *endpoint_at(self, index) except NULL:
        cdef Plane *p = self.engine.p
        return p.endpoints[index_in(index, "endpoint", p.n_endpoints)]

    cdef int demand_tls(self, Upstream *u, settings) except -1:
        if settings.tls_host and u.tls == NULL and u.index not in self.secured:
            raise ValueError("endpoint.tls_host: set_tls of its upstream comes first")
        return 0

    # ------------------------------------------------------------ steps

    def set_limits(self, limits):
        """A step: Engine.set_limits."""
        stage_limits(self.step(), limits)

    def set_switches(self, *, via, trust_forwarded, serve_half_close):
        """A step: Engine.set_switches."""
        stage_switches(self.step(), via, trust_forwarded, serve_half_close)

    def set_keepalive(self, after):
        """A step: Engine.set_keepalive."""
        stage_keepalive(self.step(), after)

    def set_cors(self, cors):
        """A step: Engine.set_cors."""
        stage_cors(self.step(), cors)

    def add_upstream(self, name, *, settings, endpoints=()):
        """Several steps: Engine.add_upstream."""
        cdef Step *step = self.step()
        cdef Upstream *u = NULL
        demand_type(name, "name", str)
        endpoints = list(endpoints)
        with self.engine:
            u = registry_add_upstream(self.engine.p)
        self.n_added += 1
        self.names.upstreams.append(name)
        stage_upstream(step, u, settings)
        for endpoint in endpoints:
            self.add_endpoint(u.index, settings=endpoint)
        return u.index

    def set_upstream(self, index, *, settings):
        """A step: Engine.set_upstream."""
        stage_upstream(self.step(), self.upstream_at(index), settings)

    def set_tls(self, context, *, upstream=None, server_name=b""):
        """A step: Engine.set_tls."""
        cdef Step *step = self.step()
        cdef Upstream *u = NULL
        demand_type(server_name, "server_name", bytes)
        if context is not None:
            demand_type(context, "context", Context)
        if upstream is None:
            stage_tls(step, &self.engine.p.tls, NULL, context, b"")
            return
        if context is None:
            raise ValueError("context: endpoints that are https:// cannot do without")
        u = self.upstream_at(upstream)
        stage_tls(step, &u.tls, u, context, server_name)
        self.secured.add(upstream)

    def add_endpoint(self, index, *, settings):
        """Several steps: Engine.add_endpoint."""
        cdef Step *step = self.step()
        cdef Upstream *u = self.upstream_at(index)
        cdef Endpoint *e = NULL
        cdef uint32_t n_before = self.engine.p.n_endpoints
        check_endpoint(settings)
        self.demand_tls(u, settings)
        with self.engine:
            e = registry_stage_endpoint(
                self.engine.p, u, settings, self.names.endpoints, self.n_joining
            )
        self.n_made += self.engine.p.n_endpoints - n_before
        step.what = e
        step.apply = registry_join
        self.n_joining += 1
        self.set_endpoint(e.index, weight=settings.weight)
        self.set_pool(e.index, settings=settings.pool)
        return e.index

    def remove_endpoint(self, index):
        """A step: Engine.remove_endpoint."""
        cdef Step *step = self.step()
        cdef Endpoint *e = self.endpoint_at(index)
        step.what = e
        step.apply = registry_remove

    def set_endpoint(
        self, index, *, up=None, draining=None, weight=None, usage_request=None, load=None,
        probe_ok=None, model_len=None, loading=None
    ):
        """A step: Engine.set_endpoint."""
        cdef Step *step = self.step()
        cdef Endpoint *e = self.endpoint_at(index)
        stage_endpoint(
            step, e, up, draining, weight, usage_request, load, probe_ok, model_len, loading
        )

    def set_pool(self, index, *, settings):
        """A step: Engine.set_pool."""
        stage_pool(self.step(), self.endpoint_at(index), settings)

    def set_learned(self, index, *, learned):
        """A step: Engine.set_learned."""
        cdef Step *step = self.step()
        stage_learned(step, self.endpoint_at(index), learned)

    def set_routes(self, routes, *, default):
        """A step, once in a change: Engine.set_routes."""
        cdef Step *step = self.step()
        if self.has_routes:
            raise RuntimeError("routes are set once in a change")
        routes = list(routes)
        stage_routes(step, self.engine.p, routes, default)
        self.has_routes = True
        self.n_models = len(routes)

    def set_surfaces(self, surfaces):
        """A step: Engine.set_surfaces."""
        stage_surfaces(self.step(), list(surfaces), <int>self.engine.p.n_upstreams)

    def set_keys(self, keys, *, forward=False, headers=False, salt_secret=b"", identity=""):
        """A step, once in a change: Engine.set_keys."""
        cdef Step *step = self.step()
        if self.has_keys:
            raise RuntimeError("keys are set once in a change")
        keys = None if keys is None else list(keys)
        self.tenants.reclaim(self.engine)
        self.has_keys = True
        demand_type(salt_secret, "salt_secret", bytes)
        found, self.whose = api_keys_stage(
            step, self.engine, keys, flag(forward, "forward"), flag(headers, "headers"),
            salt_secret, identity, self.names.upstreams, self.tenants, self.n_models
        )
        names = self.names.keys
        names += [""] * (self.engine.p.keys.n_all - len(names))
        for at, key in zip(found, keys or (), strict=True):
            self.key_names[at] = key.name or f"key{at}"
        return found

    def set_tokens(self, is_on):
        """A step: Engine.set_tokens."""
        stage_tokens(self.step(), is_on)

    # ------------------------------------------------------------ the end

    cdef int stage_series(self) except -1:
        """Grow the table of series for endpoints that join."""
        cdef Plane *p = self.engine.p
        cdef uint32_t n = self.n_joining, i
        cdef SeriesTable *grown
        cdef Step *step
        if n == 0:
            return 0
        for i in range(p.n_upstreams):
            n += p.upstreams[i].n_endpoints
        step = self.step()
        step.what = grown = <SeriesTable *>calloc(1, sizeof(SeriesTable))
        step.discard = discard_series
        if grown == NULL or series_stage(grown, &(<Stats *>p.stats).series, n) < 0:
            raise MemoryError
        step.apply = apply_series
        return 0

    cdef int commit(self) except -1:
        cdef PlaneThread engine = self.engine
        cdef uint32_t i, n = self.n_steps
        cdef Step *steps = self.steps
        for i in range(n):
            if steps[i].apply == NULL:
                raise RuntimeError("a step of this change has failed: nothing is in force")
        with nogil:
            engine.enter_plane()
            for i in range(n):
                steps[i].apply(engine.p, steps[i].what)
            engine.leave_plane()
        self.n_made = self.n_added = 0
        self.discard()
        names = self.names.keys
        for at, name in self.key_names.items():
            names[at] = name
        if self.has_keys:
            self.tenants.keep(self.whose)
        return 0

    cdef int undo(self) except -1:
        """Undo steps that were prepared and are not in force."""
        self.discard()
        with self.engine:
            while self.n_made:
                registry_undo_endpoint(self.engine.p)
                self.names.endpoints.pop()
                self.n_made -= 1
            while self.n_added:
                registry_undo_upstream(self.engine.p)
                self.names.upstreams.pop()
                self.n_added -= 1
        if self.has_keys:
            self.tenants.keep(self.tenants.in_force)
        return 0

    cdef int discard(self) except -1:
        cdef Step *step
        while self.n_steps:
            self.n_steps -= 1
            step = &self.steps[self.n_steps]
            if step.discard != NULL and step.what != NULL:
                step.discard(step.what)
        return 0
