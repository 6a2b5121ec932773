from libc.stddef cimport size_t

from zeroproxy._fast.engine.tls_context cimport Context
from zeroproxy._fast.types.change cimport Step
from zeroproxy._fast.types.plane cimport Endpoint, Plane, Upstream

cdef void *make(Step *s, size_t size) except NULL
cdef int stage_limits(Step *s, limits) except -1
cdef int stage_switches(Step *s, via, trust_forwarded, serve_half_close) except -1
cdef int stage_upstream(Step *s, Upstream *u, settings) except -1
cdef int stage_endpoint(
    Step *s, Endpoint *e, up, draining, weight, usage_request, load, probe_ok
) except -1
cdef int stage_pool(Step *s, Endpoint *e, pool) except -1
cdef int stage_tls(Step *s, void **place, Upstream *u, Context context, bytes name) except -1
