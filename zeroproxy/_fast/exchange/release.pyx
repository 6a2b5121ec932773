"""The end of an exchange: all it has acquired is released, and one record is written.

Law 1. Every exchange that reached PHASE_HEAD writes exactly one record, however it ends.
Tests: tests/relay/test_records.py, tests/e2e/test_conservation.py.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from zeroproxy._fast.exchange.attempt_release cimport release_attempt, stop_waiting
from zeroproxy._fast.exchange.permits cimport leave_queue, pass_place_on, release_permit
from zeroproxy._fast.exchange.questions cimport question_leave
from zeroproxy._fast.exchange.response_usage cimport meter_finish, tokens_spent
from zeroproxy._fast.memory.buffer cimport buffer_clear
from zeroproxy._fast.memory.ring cimport Ring, ring_push
from zeroproxy._fast.tenants.fair_queue cimport share_settle
from zeroproxy._fast.tenants.keys_and_quotas cimport quota_settle
from zeroproxy._fast.types.meter cimport EXACTNESS_NONE
from zeroproxy._fast.types.model_name cimport MODEL_MAX
from zeroproxy._fast.types.plane cimport Endpoint, Plane, Relay, Upstream
from zeroproxy._fast.types.record cimport Record
from zeroproxy._fast.usage.overflow cimport overflow_add
from zeroproxy._fast.usage.stats cimport ALL_OTHERS, Stats, histogram_add, stats_count, stats_knows


# ---------------------------------------------------------------- outcome and record


cdef inline uint64_t span_ns(uint64_t begin, uint64_t end) noexcept nogil:
    return end - begin if begin and end > begin else 0


cdef void observe(Plane *p, Relay *r, const Record *record) noexcept nogil:
    cdef Upstream *u = r.x.upstream
    if u == NULL:
        return
    histogram_add(&u.request, record.total_ns)
    if r.x.admitted_ns:
        histogram_add(&u.queue_wait, record.queue_ns)
    if record.ttft_ns:
        histogram_add(&u.ttft, record.ttft_ns)
    if r.x.overhead_ns:
        histogram_add(&u.overhead, r.x.overhead_ns)


cdef void name_record(Relay *r, Record *record) noexcept nogil:
    """Copy ids, path and trace of the exchange."""
    record.trace_flags = r.x.trace_flags
    record.has_parent = r.x.has_parent
    record.caller = r.address
    memcpy(record.trace, r.x.trace, sizeof(r.x.trace))
    memcpy(record.span, r.x.span, sizeof(r.x.span))
    memcpy(record.parent, r.x.parent, sizeof(r.x.parent))
    record.id_len = r.x.id_len
    memcpy(record.request_id, r.x.request_id, r.x.id_len)
    record.path_len = r.x.path_len
    memcpy(record.path, r.x.path, r.x.path_len)


cdef void bound_model(const Stats *s, Record *record) noexcept nogil:
    """Drop a model's name that no endpoint has answered for: callers could invent one per
    request, and each would be a label."""
    if record.exactness == EXACTNESS_NONE and not stats_knows(s, record):
        record.model_len = 0


cdef void charge(Plane *p, Relay *r, const Record *record) noexcept nogil:
    """Charge the quota of its key, and its tenant's share of the upstream."""
    if r.x.key != NULL:
        quota_settle(&p.keys, r.x.key, r.x.reserved, tokens_spent(r, record), p.now_ns)
    if r.x.charged:
        share_settle(&r.x.upstream.queue, r, record)


cdef void write_record(Plane *p, Relay *r) noexcept nogil:
    """Write the record, unless it was written."""
    cdef Record record
    cdef const Endpoint *e = r.attempt.endpoint
    if r.x.settled or not r.x.began_ns:
        return
    r.x.settled = 1
    memset(&record, 0, sizeof(record) - MODEL_MAX)
    p.serial += 1
    p.counters.exchanges += 1
    record.serial = p.serial
    record.began_wall_ns = r.x.began_wall_ns
    record.queue_ns = span_ns(r.x.queued_ns, r.x.admitted_ns)
    record.connect_ns = span_ns(r.attempt.began_ns, r.attempt.sent_ns)
    record.ttft_ns = span_ns(r.x.began_ns, r.x.first_content_ns)
    record.total_ns = span_ns(r.x.began_ns, p.now_ns)
    record.gap_max_ns = r.x.gap_max_ns
    if r.x.is_streamed and r.x.n_reads > 1:
        record.gap_mean_ns = span_ns(r.x.first_content_ns, r.x.last_data_ns) // (r.x.n_reads - 1)
    record.is_streamed = r.x.is_streamed
    record.usage_by = r.x.usage_by
    record.bytes_in = r.x.bytes_in
    record.bytes_out = r.x.bytes_out
    record.status = r.x.status
    record.upstream = <unsigned short>r.x.upstream.index if r.x.upstream != NULL else ALL_OTHERS
    record.endpoint = <unsigned short>e.index if e != NULL else ALL_OTHERS
    record.tenant = r.x.tenant
    record.blame = r.x.blame
    record.cause = r.x.cause
    record.phase = r.x.ended_in
    record.method = r.x.method
    record.n_attempts = r.x.n_attempts
    meter_finish(r, &record)
    name_record(r, &record)
    bound_model(<Stats *>p.stats, &record)
    observe(p, r, &record)
    charge(p, r, &record)
    stats_count(<Stats *>p.stats, &record)
    if not ring_push(<Ring *>p.ring, &record):
        overflow_add(&(<Stats *>p.stats).overflow, &record)


# ---------------------------------------------------------------- release


cdef void release_all(Plane *p, Relay *r) noexcept nogil:
    leave_queue(p, r)
    if r.x.question != NULL:
        question_leave(r)
    stop_waiting(p, r)
    release_attempt(p, r)
    release_permit(p, r)
    pass_place_on(p, r)
    buffer_clear(&r.x.replay, &p.blocks)
    buffer_clear(&r.x.partial_event, &p.blocks)
