"""The table of routes by model, prepared as a Step of a change (engine/change.pyx).

Law. As in engine/staged_settings.pyx.
Tests: tests/relay/test_change.py.
"""

import json

from libc.stdint cimport uint16_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

from zeroproxy._fast.engine.staged_settings cimport make
from zeroproxy._fast.types.change cimport Step
from zeroproxy._fast.types.model cimport Route
from zeroproxy._fast.types.plane cimport Plane
from zeroproxy._fast.usage.stats cimport Stats

cdef struct Routes:
    Route *rows
    uint32_t n
    int default_upstream
    void **kept             # for Plane.old_routes, one longer
    uint32_t n_kept


cdef void apply_routes(Plane *p, void *what) noexcept nogil:
    cdef Routes *t = <Routes *>what
    cdef Stats *stats = <Stats *>p.stats
    p.default_upstream = t.default_upstream
    if p.n_routes == t.n and memcmp(p.routes, t.rows, t.n * sizeof(Route)) == 0:
        return
    # A request that is being read may still borrow a name: the old table stays until the end.
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


cdef int read_route(Route *row, str model, uint32_t index, bytes real) except -1:
    cdef bytes name = model.encode()
    cdef bytes plain = json.loads(real).encode() if real else b""
    if not 0 < len(name) <= sizeof(row.model) or len(real) > sizeof(row.real) \
            or len(plain) > sizeof(row.plain):
        raise ValueError(f"the name of the model {model!r} is too long")
    row.upstream = index
    row.len = <uint16_t>len(name)
    memcpy(row.model, <const char *>name, len(name))
    row.real_len = <uint16_t>len(real)
    memcpy(row.real, <const char *>real, len(real))
    row.plain_len = <uint16_t>len(plain)
    memcpy(row.plain, <const char *>plain, len(plain))
    return 0


cdef int stage_routes(Step *s, Plane *p, routes, int default_upstream) except -1:
    """Models of at most MODEL_MAX bytes, servers' names for them of at most REAL_MAX as JSON."""
    cdef Routes *t = <Routes *>make(s, sizeof(Routes))
    s.discard = discard_routes
    s.apply = apply_routes
    t.n = <uint32_t>len(routes)
    t.default_upstream = default_upstream
    t.rows = <Route *>calloc(max(t.n, 1), sizeof(Route))
    t.kept = <void **>malloc((p.n_old_routes + 1) * sizeof(void *))
    if t.rows == NULL or t.kept == NULL:
        raise MemoryError
    for k, (model, index, real) in enumerate(routes):
        read_route(&t.rows[<uint32_t>k], model, index, real)
    return 0
