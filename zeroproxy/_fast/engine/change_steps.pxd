from libc.stddef cimport size_t

from zeroproxy._fast.engine.tls_context cimport Context
from zeroproxy._fast.types.change cimport Step
from zeroproxy._fast.types.plane cimport Endpoint, Upstream

# Allocate `size` zeroed bytes as the step's `what`, which it frees.
cdef void *make(Step *s, size_t size) except NULL
# Prepare config.Limits as a Step.
cdef int stage_limits(Step *s, limits) except -1
# Prepare the switches (bool each) as a Step.
cdef int stage_switches(Step *s, via, trust_forwarded, serve_half_close) except -1
# Prepare seconds before a comment, or None, as a Step.
cdef int stage_keepalive(Step *s, after) except -1
# Prepare UpstreamSettings as a Step.
cdef int stage_upstream(Step *s, Upstream *u, settings) except -1
# Prepare settings of an endpoint as a Step; None leaves one unchanged.
cdef int stage_endpoint(
    Step *s, Endpoint *e, up, draining, weight, usage_request, load, probe_ok, model_len,
    loading,
) except -1
# Prepare config.Pool as a Step; the endpoint is prewarmed by it.
cdef int stage_pool(Step *s, Endpoint *e, pool) except -1
# Prepare a context for `place` as a Step, which holds a reference. `u`: NULL for listeners.
# `name`: the name that the certificates of its endpoints need; empty: each its own host.
cdef int stage_tls(Step *s, void **place, Upstream *u, Context context, bytes name) except -1
