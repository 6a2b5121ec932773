"""The table of routes by model, prepared as a Step of a change (engine/change.pyx).

Law. Only stage_routes can fail, as in engine/change_steps.pyx.
Tests: tests/relay/test_change.py.
"""

import json

from libc.stdint cimport uint16_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

from zeroproxy._fast.engine.change_steps cimport make
from zeroproxy._fast.engine.values cimport demand_type, encoded, index_in
from zeroproxy._fast.types.change cimport Step
from zeroproxy._fast.types.model_name cimport MODEL_MAX, REAL_MAX, Route
from zeroproxy._fast.types.plane cimport Plane
from zeroproxy._fast.usage.stats cimport Stats

from zeroproxy._fast.engine.settings_types import Route as RouteSettings

cdef struct Routes:
    Route *rows
    uint32_t n
    int default_upstream
    void **kept             # for Plane.old_routes, one longer


cdef void apply_routes(Plane *p, void *what) noexcept nogil:
    cdef Routes *t = <Routes *>what
    cdef Stats *stats = <Stats *>p.stats
    p.default_upstream = t.default_upstream
    if p.n_routes == t.n and memcmp(p.routes, t.rows, t.n * sizeof(Route)) == 0:
        return
    # A request that is being read may borrow a name: the old table lives as long as the plane.
    if p.n_old_routes:
        memcpy(t.kept, p.old_routes, p.n_old_routes * sizeof(void *))
    t.kept[p.n_old_routes] = p.routes
    p.old_routes, t.kept = t.kept, p.old_routes
    p.n_old_routes += 1
    p.routes, t.rows = t.rows, NULL
    p.n_routes = t.n
    stats.routes = p.routes
    stats.n_routes = p.n_routes


cdef void discard_routes(void *what) noexcept nogil:
    free((<Routes *>what).rows)
    free((<Routes *>what).kept)
    free(what)


cdef bytes as_json(str name):
    """The server's own name for a model, as it stands in a body."""
    cdef bytes text = json.dumps(name, ensure_ascii=False).encode()
    if len(text) > REAL_MAX:
        raise ValueError(f"route.serves: longer than {REAL_MAX} bytes as JSON")
    return text


cdef int read_route(Route *row, route, uint32_t n_upstreams) except -1:
    cdef bytes name, real = b"", plain
    demand_type(route, "routes", RouteSettings)
    name = encoded(route.model, "route.model", MODEL_MAX)
    plain = encoded(route.serves, "route.serves", MODEL_MAX)
    if not name:
        raise ValueError("route.model: empty")
    if plain:
        real = as_json(route.serves)
    row.upstream = index_in(route.upstream, "route.upstream", n_upstreams)
    row.len = <uint16_t>len(name)
    memcpy(row.model, <const char *>name, len(name))
    row.real_len = <uint16_t>len(real)
    memcpy(row.real, <const char *>real, len(real))
    row.plain_len = <uint16_t>len(plain)
    memcpy(row.plain, <const char *>plain, len(plain))
    return 0


cdef int stage_routes(Step *s, Plane *p, list routes, default) except -1:
    cdef Routes *t = <Routes *>make(s, sizeof(Routes))
    s.discard = discard_routes
    t.n = <uint32_t>len(routes)
    t.default_upstream = -1 if default is None else <int>index_in(default, "default", p.n_upstreams)
    t.rows = <Route *>calloc(max(t.n, 1), sizeof(Route))
    t.kept = <void **>malloc((p.n_old_routes + 1) * sizeof(void *))
    if t.rows == NULL or t.kept == NULL:
        raise MemoryError
    for k, route in enumerate(routes):
        read_route(&t.rows[<uint32_t>k], route, p.n_upstreams)
    s.apply = apply_routes
    return 0
