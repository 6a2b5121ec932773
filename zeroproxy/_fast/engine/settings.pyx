"""Typed settings (engine/settings_types.py, zeroproxy/config) as C structs.

Law. Each function fills its struct or raises as engine/values.pyx does, naming the key as the
     configuration does: `pool.max_idle`. A range is that of the C field; a reader of TOML checks
     the narrower one of the configuration before.
Tests: tests/relay/test_reload.py, tests/relay/test_engine_api.py.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from zeroproxy._fast.engine.values cimport choice, demand_type, encoded, flag, ns, number, whole
from zeroproxy._fast.types.admission_limits cimport TENANT_SHARE_ONE, AdmissionSettings
from zeroproxy._fast.types.affinity_and_latency cimport HASH_PARTS_MAX, HashPart, HashSettings
from zeroproxy._fast.types.breaker cimport BreakerSettings
from zeroproxy._fast.types.conn_pool cimport PoolSettings
from zeroproxy._fast.types.exchange_limits cimport Limits
from zeroproxy._fast.types.http cimport FIELDS_MAX
from zeroproxy._fast.upstream.breaker cimport RATE_ONE

from zeroproxy._fast.engine.enum_names import HASH_SOURCES
from zeroproxy._fast.engine.settings_types import EndpointSettings
from zeroproxy.config import schema

cdef enum:
    TCP_IDLE_MOST = 32767   # seconds; the kernel's own bound
    HEAD_MOST = 49152       # of a block that also holds the rest of a request
cdef uint64_t MOST = 0xFFFFFFFF
cdef uint64_t BYTES_MOST = <uint64_t>1 << 62


cdef int parse_limits(Limits *l, limits) except -1:
    """`connections` is at least 1 here: 0 is no "unlimited"."""
    demand_type(limits, "limits", schema.Limits)
    l.request.line_bytes = whole(limits.header_line_bytes, "limits.header_line_bytes", 1, HEAD_MOST)
    l.request.head_bytes = whole(limits.header_bytes, "limits.header_bytes", 1, HEAD_MOST)
    l.request.field_count = whole(limits.header_count, "limits.header_count", 1, FIELDS_MAX)
    l.response.line_bytes = l.response.head_bytes = HEAD_MOST
    l.response.field_count = FIELDS_MAX
    l.body_bytes = whole(limits.body_bytes, "limits.body_bytes", 0, BYTES_MOST)
    l.connections = whole(limits.connections, "limits.connections", 1, MOST)
    l.interims = whole(limits.interim_responses, "limits.interim_responses", 0, MOST)
    l.extra_bytes = whole(limits.chunk_extra_bytes, "limits.chunk_extra_bytes", 0, MOST)
    l.header_ns = ns(limits.header_timeout, "limits.header_timeout")
    l.body_ns = ns(limits.body_timeout, "limits.body_timeout")
    l.body_rate = whole(limits.body_min_rate, "limits.body_min_rate", 0, MOST)
    l.idle_ns = ns(limits.idle_timeout, "limits.idle_timeout")
    l.stall_ns = ns(limits.write_stall_timeout, "limits.write_stall_timeout")
    l.linger_ns = ns(limits.linger_timeout, "limits.linger_timeout")
    l.tunnel_ns = ns(limits.tunnel_idle_timeout, "limits.tunnel_idle_timeout")
    return 0


cdef int parse_breaker(BreakerSettings *t, breaker) except -1:
    demand_type(breaker, "breaker", schema.Breaker)
    t.failures = whole(breaker.failures, "breaker.failures", 0, MOST)
    t.rate = <uint32_t>(number(breaker.error_rate, "breaker.error_rate", 0, 1) * RATE_ONE)
    t.min_requests = whole(breaker.min_requests, "breaker.min_requests", 0, MOST)
    t.probes = whole(breaker.half_open_probes, "breaker.half_open_probes", 1, MOST)
    t.counts_busy = flag(breaker.count_busy, "breaker.count_busy")
    t.window_ns = ns(breaker.window, "breaker.window")
    t.open_ns = ns(breaker.open_for, "breaker.open_for")
    t.slow_start_ns = ns(breaker.slow_start, "breaker.slow_start")
    return 0


cdef int parse_admission(AdmissionSettings *t, admission) except -1:
    """`queue_timeout` is left out: it is a time limit of each exchange."""
    cdef double share
    demand_type(admission, "admission", schema.Admission)
    share = number(admission.tenant_share, "admission.tenant_share", 0, 1)
    t.max_inflight = whole(admission.max_inflight, "admission.max_inflight", 0, MOST)
    t.min_inflight = whole(admission.min_inflight, "admission.min_inflight", 1, MOST)
    t.queue_max = whole(admission.queue, "admission.queue", 0, MOST)
    t.tenant_share = <uint32_t>(share * TENANT_SHARE_ONE)
    t.ttft_target_ns = ns(admission.ttft_target, "admission.ttft_target")
    t.hold_ns = ns(admission.hold_when_down, "admission.hold_when_down")
    t.heeds_deadlines = flag(admission.caller_deadline, "admission.caller_deadline")
    t.steers = flag(admission.steer_retries, "admission.steer_retries")
    return 0


cdef int parse_hash_part(HashPart *part, source) except -1:
    """`header:NAME`, `user` or `prompt`."""
    cdef bytes name
    demand_type(source, "hash.on", str)
    kind, _, header = source.lower().partition(":")
    part.source = choice(kind, "hash.on", HASH_SOURCES)
    name = encoded(header, "hash.on", sizeof(part.name))
    part.len = <unsigned char>len(name)
    memcpy(part.name, <const char *>name, len(name))
    return 0


cdef int parse_hash(HashSettings *t, settings) except -1:
    demand_type(settings, "hash", schema.Hash)
    demand_type(settings.on, "hash.on", tuple)
    if len(settings.on) > HASH_PARTS_MAX:
        raise ValueError(f"hash.on: more than {HASH_PARTS_MAX} sources")
    t.n = 0
    for source in settings.on:
        parse_hash_part(&t.parts[t.n], source)
        t.n += 1
    t.prefix_bytes = whole(settings.prefix_bytes, "hash.prefix_bytes", 0, MOST)
    t.bound = number(settings.load_bound, "hash.load_bound", 1, 1e9)
    return 0


cdef int parse_pool(PoolSettings *t, pool) except -1:
    demand_type(pool, "pool", schema.Pool)
    t.max_idle = whole(pool.max_idle, "pool.max_idle", 0, MOST)
    t.idle_ns = ns(pool.idle_timeout, "pool.idle_timeout")
    t.max_age_ns = ns(pool.max_age, "pool.max_age")
    t.max_requests = whole(pool.max_requests, "pool.max_requests", 0, MOST)
    t.max_connections = whole(pool.max_connections, "pool.max_connections", 0, MOST)
    t.tcp_idle = whole(pool.tcp_keepalive, "pool.tcp_keepalive", 0, TCP_IDLE_MOST)
    t.learns = choice(pool.keep_alive, "pool.keep_alive", ("fixed", "learn"))
    t.warm = whole(pool.prewarm, "pool.prewarm", 0, MOST)
    t.warm_idle_ns = ns(pool.prewarm_idle, "pool.prewarm_idle")
    return 0


cdef int check_endpoint(endpoint) except -1:
    """The registry copies these values without further checks."""
    demand_type(endpoint, "endpoint", EndpointSettings)
    demand_type(endpoint.url, "endpoint.url", str)
    for key, most in (("sockaddr", 128), ("authority", 264), ("tls_host", 255)):
        value = getattr(endpoint, key)
        demand_type(value, f"endpoint.{key}", bytes)
        if len(value) > most:
            raise ValueError(f"endpoint.{key}: longer than {most} bytes")
    return 0
