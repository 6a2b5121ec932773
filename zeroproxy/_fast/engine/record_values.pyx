"""Records, and the totals of those that did not fit the ring, as plain Python values.

Tests: tests/relay/test_records.py, tests/relay/test_reload.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

from zeroproxy._fast.engine.names cimport Names
from zeroproxy._fast.exchange.outcome_names cimport exactness_name
from zeroproxy._fast.net.networks cimport address_text
from zeroproxy._fast.types.network cimport Address
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

from zeroproxy._fast.engine.enum_names import FINISHES, METHODS, USAGE_BY
from zeroproxy._fast.exchange.outcome_names import outcome_label


cdef dict read_overflow_row(const OverflowRow *s, Names names):
    cdef const OverflowSums *sums = &s.sums
    return {
        "upstream": names.upstream(s.upstream),
        "endpoint": names.endpoint(s.endpoint),
        "model": "other" if s.is_rest else s.model[:s.model_len].decode("utf-8", "replace"),
        "tenant": names.tenant(s.tenant),
        "exactness": exactness_name(s.exactness).decode(), "count": sums.count,
        "prompt_tokens": sums.prompt, "completion_tokens": sums.completion,
        "cached_tokens": sums.cached, "reasoning_tokens": sums.reasoning,
        "bytes_in": sums.bytes_in, "bytes_out": sums.bytes_out,
    }


cdef list take_overflow_rows(Stats *stats, Names names):
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


cdef object address_of(const Address *a):
    """None: it is not known, or a unix socket has none."""
    cdef char[64] text
    cdef size_t n = address_text(a, text, sizeof(text))
    return text[:n].decode("ascii") if n else None


cdef dict read_record(const Record *r, Names names):
    return {
        "serial": r.serial, "time_ns": r.began_wall_ns, "queue_ns": r.queue_ns,
        "connect_ns": r.connect_ns, "ttft_ns": r.ttft_ns, "total_ns": r.total_ns,
        "gap_mean_ns": r.gap_mean_ns, "gap_max_ns": r.gap_max_ns,
        "streamed": bool(r.is_streamed), "finish": FINISHES[r.finish],
        "usage_by": USAGE_BY[r.usage_by], "tenant": names.tenant(r.tenant),
        "trace_id": r.trace[:16].hex(), "span_id": r.span[:8].hex(),
        "parent_span_id": r.parent[:8].hex() if r.has_parent else "",
        "trace_sampled": bool(r.trace_flags & 1),
        "bytes_in": r.bytes_in, "bytes_out": r.bytes_out, "events": r.n_events,
        "status": r.status, "upstream": names.upstream(r.upstream),
        "endpoint": names.endpoint(r.endpoint),
        "outcome": outcome_label(r.blame, r.phase, r.cause), "method": METHODS[r.method],
        "tried": r.n_attempts, "exactness": exactness_name(r.exactness).decode(),
        "prompt_tokens": known(r.tokens.prompt), "completion_tokens": known(r.tokens.completion),
        "cached_tokens": known(r.tokens.cached), "reasoning_tokens": known(r.tokens.reasoning),
        "request_id": r.request_id[:r.id_len].decode("latin-1"),
        "path": r.path[:r.path_len].decode("latin-1"),
        "caller": address_of(&r.caller),
        "model": r.model[:r.model_len].decode("utf-8", "replace"),
    }
