"""Records, and what was spilled of them, as plain Python values.

Law. `names` is (upstreams, endpoints, tenants), each a list by index that is longer than any index
     in a record: the flusher's thread reads it while a door appends.
Tests: tests/relay/test_records.py, tests/relay/test_reload.py.
"""

from libc.stdint cimport uint64_t

from zeroproxy._fast.exchange.outcome cimport exactness_name
from zeroproxy._fast.types.record cimport Record
from zeroproxy._fast.usage.overflow cimport (
    OverflowRow,
    OverflowSums,
    overflow_grew,
    overflow_row,
    overflow_rows,
    overflow_take,
)
from zeroproxy._fast.usage.stats cimport Stats

from zeroproxy._fast.exchange.outcome import outcome_label

FINISHES = ("", "done", "error", "cut")
USAGE_BY = ("", "caller", "proxy", "refused", "unasked")
METHODS = ("OTHER", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")


cdef str upstream_name(int index, tuple names):
    return names[0][index] if index < len(names[0]) else ""


cdef str endpoint_url(int index, tuple names):
    return names[1][index] if index < len(names[1]) else ""


cdef str tenant_name(int index, tuple names):
    return names[2][index] if index < len(names[2]) else ""


cdef dict read_overflow_row(const OverflowRow *s, tuple names):
    cdef const OverflowSums *sums = &s.sums
    return {
        "upstream": upstream_name(s.upstream, names),
        "endpoint": endpoint_url(s.endpoint, names),
        "model": "other" if s.is_rest else s.model[:s.model_len].decode("utf-8", "replace"),
        "tenant": tenant_name(s.tenant, names),
        "exactness": exactness_name(s.exactness).decode(), "count": sums.count,
        "prompt_tokens": sums.prompt, "completion_tokens": sums.completion,
        "cached_tokens": sums.cached, "reasoning_tokens": sums.reasoning,
        "bytes_in": sums.bytes_in, "bytes_out": sums.bytes_out,
    }


cdef list read_overflow(const Stats *stats, tuple names):
    """What the ring did not take, cumulative. With the turn."""
    cdef uint64_t row
    return [read_overflow_row(overflow_row(&stats.overflow, row), names)
            for row in range(overflow_rows(&stats.overflow))
            if not overflow_row(&stats.overflow, row).is_free]


cdef list take_overflow_rows(Stats *stats, tuple names):
    """What that has grown by since the last call. The consumer's thread."""
    cdef uint64_t row
    cdef OverflowRow grown
    found = []
    if not overflow_grew(&stats.overflow):
        return found
    for row in range(overflow_rows(&stats.overflow)):
        if overflow_take(overflow_row(&stats.overflow, row), &grown):
            found.append(read_overflow_row(&grown, names))
    return found


cdef object known(value):
    return value if value >= 0 else None


cdef dict read_record(const Record *r, tuple names):
    return {
        "serial": r.serial, "time_ns": r.began_wall_ns, "queue_ns": r.queue_ns,
        "connect_ns": r.connect_ns, "ttft_ns": r.ttft_ns, "total_ns": r.total_ns,
        "gap_mean_ns": r.gap_mean_ns, "gap_max_ns": r.gap_max_ns,
        "streamed": bool(r.is_streamed), "finish": FINISHES[r.finish],
        "usage_by": USAGE_BY[r.usage_by], "tenant": tenant_name(r.tenant, names),
        "trace_id": r.trace[:16].hex(), "span_id": r.span[:8].hex(),
        "parent_span_id": r.parent[:8].hex() if r.has_parent else "",
        "trace_sampled": bool(r.trace_flags & 1),
        "bytes_in": r.bytes_in, "bytes_out": r.bytes_out, "events": r.n_events,
        "status": r.status, "upstream": upstream_name(r.upstream, names),
        "endpoint": endpoint_url(r.endpoint, names),
        "outcome": outcome_label(r.blame, r.phase, r.cause), "method": METHODS[r.method],
        "tried": r.n_attempts, "exactness": exactness_name(r.exactness).decode(),
        "prompt_tokens": known(r.tokens.prompt), "completion_tokens": known(r.tokens.completion),
        "cached_tokens": known(r.tokens.cached), "reasoning_tokens": known(r.tokens.reasoning),
        "request_id": r.request_id[:r.id_len].decode("latin-1"),
        "path": r.path[:r.path_len].decode("latin-1"),
        "model": r.model[:r.model_len].decode("utf-8", "replace"),
    }
