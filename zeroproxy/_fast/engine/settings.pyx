"""What the configuration says, as structs: limits, breakers, admission, pools, keys of requests.

Law. Each fills its struct or raises; a time limit that is negative is a ValueError.
Tests: tests/relay/test_reload.py.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from zeroproxy._fast.types.admission cimport TENANT_SHARE_ONE, AdmissionSettings
from zeroproxy._fast.types.balance cimport HASH_PARTS_MAX, HashPart, HashSettings
from zeroproxy._fast.types.breaker cimport BreakerSettings
from zeroproxy._fast.types.http cimport FIELDS_MAX
from zeroproxy._fast.types.limits cimport Limits
from zeroproxy._fast.types.pool cimport PoolSettings
from zeroproxy._fast.upstream.breaker cimport RATE_ONE


cdef uint64_t ns(double seconds) except? 0:
    if seconds < 0:
        raise ValueError(f"a time limit cannot be negative: {seconds}")
    return <uint64_t>(seconds * 1e9)


cdef int parse_limits(Limits *l, limits) except -1:
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
    l.body_rate = limits.body_min_rate
    l.idle_ns = ns(limits.idle_timeout)
    l.stall_ns = ns(limits.write_stall_timeout)
    l.linger_ns = ns(limits.linger_timeout)
    l.tunnel_ns = ns(limits.tunnel_idle_timeout)
    return 0


cdef int parse_breaker(BreakerSettings *t, dict settings) except -1:
    t.failures = settings["failures"]
    t.rate = <uint32_t>(settings["error_rate"] * RATE_ONE)
    t.min_requests = settings["min_requests"]
    t.probes = max(settings["half_open_probes"], 1)
    t.counts_busy = bool(settings["count_busy"])
    t.window_ns = ns(settings["window"])
    t.open_ns = ns(settings["open_for"])
    t.slow_start_ns = ns(settings["slow_start"])
    return 0


cdef int parse_admission(AdmissionSettings *t, dict settings) except -1:
    """Only `max_inflight` and `queue` need be said."""
    t.max_inflight = settings["max_inflight"]
    t.min_inflight = max(settings.get("min_inflight", 1), 1)
    t.queue_max = settings["queue"]
    t.tenant_share = <uint32_t>(settings.get("tenant_share", 1.0) * TENANT_SHARE_ONE)
    t.ttft_target_ns = ns(settings.get("ttft_target", 0.0))
    return 0


cdef int parse_hash(HashSettings *t, dict settings) except -1:
    cdef HashPart *part
    cdef bytes name
    if len(settings["on"]) > HASH_PARTS_MAX:
        raise ValueError(f"a key is made of at most {HASH_PARTS_MAX} things")
    t.n = 0
    for source, name in settings["on"]:
        part = &t.parts[t.n]
        if len(name) > sizeof(part.name):
            raise ValueError("the name of a header field is too long")
        part.source = source
        part.len = <unsigned char>len(name)
        memcpy(part.name, <const char *>name, len(name))
        t.n += 1
    t.prefix_bytes = settings["prefix_bytes"]
    t.bound = max(settings["load_bound"], 1.0)
    return 0


cdef int parse_pool(PoolSettings *pool, dict settings) except -1:
    pool.max_idle = settings["max_idle"]
    pool.idle_ns = ns(settings["idle_timeout"])
    pool.max_age_ns = ns(settings["max_age"])
    pool.max_requests = settings["max_requests"]
    pool.max_connections = settings["max_connections"]
    pool.learns = bool(settings["learns"])
    pool.warm = settings["prewarm"]
    pool.warm_idle_ns = ns(settings["prewarm_idle"])
    return 0
