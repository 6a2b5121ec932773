"""What an exchange took and how it is given back; the one record it leaves.

Law 1. Every exchange that reached PHASE_HEAD writes exactly one record, whatever happened.
Tests: tests/relay/test_records.py, tests/e2e/test_conservation.py.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from zeroproxy._fast.exchange.permits cimport leave_queue, release_permit
from zeroproxy._fast.exchange.relay_pool cimport relay_later
from zeroproxy._fast.exchange.response_usage cimport meter_finish, tokens_spent
from zeroproxy._fast.memory.buffer cimport buffer_release
from zeroproxy._fast.memory.ring cimport Ring, ring_push
from zeroproxy._fast.net.conn cimport conn_discard_unread
from zeroproxy._fast.tenants.api_keys cimport quota_settle
from zeroproxy._fast.tenants.fair_queue cimport share_settle
from zeroproxy._fast.tenants.fifo cimport fifo_push, fifo_remove
from zeroproxy._fast.types.meter cimport EXACTNESS_NONE
from zeroproxy._fast.types.model cimport MODEL_MAX
from zeroproxy._fast.types.plane cimport Plane, Relay, Rival, Upstream
from zeroproxy._fast.types.pool cimport CLOSED_EXCHANGE
from zeroproxy._fast.types.record cimport Record
from zeroproxy._fast.upstream.breaker cimport attempt_ends
from zeroproxy._fast.upstream.endpoint cimport endpoint_retire, release_idle_conn
from zeroproxy._fast.upstream.latency_model cimport latency_attempt_ends
from zeroproxy._fast.usage.overflow cimport overflow_add
from zeroproxy._fast.usage.stats cimport ALL_OTHERS, Stats, histogram_add, stats_count, stats_knows


# ---------------------------------------------------------------- outcome and record


cdef inline uint64_t span_ns(uint64_t begin, uint64_t end) noexcept nogil:
    return end - begin if begin and end > begin else 0


cdef void observe(Plane *p, Relay *r, const Record *record) noexcept nogil:
    cdef Upstream *u = r.upstream
    if u == NULL:
        return
    histogram_add(&u.request, record.total_ns)
    if r.admitted_ns:
        histogram_add(&u.queue_wait, record.queue_ns)
    if record.ttft_ns:
        histogram_add(&u.ttft, record.ttft_ns)
    if r.overhead_ns:
        histogram_add(&u.overhead, r.overhead_ns)


cdef void name_record(Relay *r, Record *record) noexcept nogil:
    """Who the exchange was: ids, path, trace."""
    record.trace_flags = r.trace_flags
    record.has_parent = r.has_parent
    memcpy(record.trace, r.trace, sizeof(r.trace))
    memcpy(record.span, r.span, sizeof(r.span))
    memcpy(record.parent, r.parent, sizeof(r.parent))
    record.id_len = r.id_len
    memcpy(record.request_id, r.request_id, r.id_len)
    record.path_len = r.path_len
    memcpy(record.path, r.path, r.path_len)


cdef void bound_model(const Stats *s, Record *record) noexcept nogil:
    """A name nobody has ever answered for is no label: callers could make up one per request."""
    if record.exactness == EXACTNESS_NONE and not stats_knows(s, record):
        record.model_len = 0


cdef void charge(Plane *p, Relay *r, const Record *record) noexcept nogil:
    """To the quota of its key, and to its tenant's share of the upstream."""
    if r.key != NULL:
        quota_settle(&p.keys, r.key, r.reserved, tokens_spent(r, record), p.now_ns)
    if r.charged:
        share_settle(&r.upstream.queue, r, record)


cdef void write_record(Plane *p, Relay *r) noexcept nogil:
    """One record per exchange; a second call does nothing."""
    cdef Record record
    if r.settled or not r.began_ns:
        return
    r.settled = 1
    memset(&record, 0, sizeof(record) - MODEL_MAX)
    p.serial += 1
    p.counters.exchanges += 1
    record.serial = p.serial
    record.began_wall_ns = r.began_wall_ns
    record.queue_ns = span_ns(r.queued_ns, r.admitted_ns)
    record.connect_ns = span_ns(r.attempt_ns, r.sent_ns)
    record.ttft_ns = span_ns(r.began_ns, r.first_content_ns)
    record.total_ns = span_ns(r.began_ns, p.now_ns)
    record.gap_max_ns = r.gap_max_ns
    if r.is_streamed and r.n_reads > 1:
        record.gap_mean_ns = span_ns(r.first_content_ns, r.last_data_ns) // (r.n_reads - 1)
    record.is_streamed = r.is_streamed
    record.usage_by = r.usage_by
    record.bytes_in = r.bytes_in
    record.bytes_out = r.bytes_out
    record.status = r.status
    record.upstream = <unsigned short>r.upstream.index if r.upstream != NULL else ALL_OTHERS
    record.endpoint = <unsigned short>r.endpoint.index if r.endpoint != NULL else ALL_OTHERS
    record.tenant = r.tenant
    record.blame = r.blame
    record.cause = r.cause
    record.phase = r.ended_in
    record.method = r.method
    record.n_attempts = r.n_attempts
    meter_finish(r, &record)
    name_record(r, &record)
    bound_model(<Stats *>p.stats, &record)
    observe(p, r, &record)
    charge(p, r, &record)
    stats_count(<Stats *>p.stats, &record)
    if not ring_push(<Ring *>p.ring, &record):
        overflow_add(&(<Stats *>p.stats).overflow, &record)


# ---------------------------------------------------------------- giving back


cdef void release_upstream_conn(Plane *p, Relay *r) noexcept nogil:
    if r.up == NULL:
        return
    if (
        r.keeps_upstream and r.response_body.done
        and not (r.up.saw_fin or r.up.broken or r.up.deferred)
    ):
        r.up.served += 1
        release_idle_conn(p, r.up)
    else:
        conn_discard_unread(r.up)
        endpoint_retire(p, r.up, CLOSED_EXCHANGE)
    r.up = NULL
    wake_waiting(p, r.upstream)


cdef void swap_rival(Relay *r) noexcept nogil:
    """The other attempt is the one that r.up, r.endpoint and the like speak of."""
    cdef Rival was = r.rival
    r.rival.up, r.up = r.up, was.up
    r.rival.endpoint, r.endpoint = r.endpoint, was.endpoint
    r.rival.ticket, r.ticket = r.ticket, was.ticket
    r.rival.attempt_ns, r.attempt_ns = r.attempt_ns, was.attempt_ns
    r.rival.sent_ns, r.sent_ns = r.sent_ns, was.sent_ns
    r.rival.load_area, r.load_area = r.load_area, was.load_area
    r.rival.load, r.load = r.load, was.load
    r.rival.was_reused, r.was_reused = r.was_reused, was.was_reused
    r.rival.on_endpoint, r.on_endpoint = r.on_endpoint, was.on_endpoint


cdef void drop_rival(Plane *p, Relay *r) noexcept nogil:
    """The other attempt is not needed any more; it says nothing about its endpoint but what stands
    in its trial."""
    cdef unsigned char keeps = r.keeps_upstream
    if r.rival.endpoint == NULL:
        return
    swap_rival(r)
    r.keeps_upstream = 0
    if r.on_endpoint:
        latency_attempt_ends(p, r)
        attempt_ends(p, r)
    release_upstream_conn(p, r)
    r.keeps_upstream = keeps
    swap_rival(r)
    memset(&r.rival, 0, sizeof(Rival))


cdef void release_attempt(Plane *p, Relay *r) noexcept nogil:
    """The upstream conn and the endpoint's in-flight count; the permit stays."""
    drop_rival(p, r)
    if r.endpoint != NULL and r.on_endpoint:
        latency_attempt_ends(p, r)
        attempt_ends(p, r)
    release_upstream_conn(p, r)
    r.keeps_upstream = 0
    r.up_paused = 0
    r.got_byte = 0


cdef void wake_waiting(Plane *p, Upstream *u) noexcept nogil:
    """There may be room for a conn: the first in line looks for itself."""
    if u.conn_waiters.head != NULL:
        relay_later(p, u.conn_waiters.head)


cdef void wait_for_conn(Plane *p, Relay *r) noexcept nogil:
    if r.waits_conn:
        return
    r.waits_conn = 1
    r.attempt_ns = p.now_ns
    fifo_push(&r.upstream.conn_waiters, r)
    r.upstream.n_waited += 1


cdef void stop_waiting(Plane *p, Relay *r) noexcept nogil:
    """Out of the line; who is first now looks whether there is room for two."""
    if r.waits_conn:
        r.waits_conn = 0
        fifo_remove(&r.upstream.conn_waiters, r)
        wake_waiting(p, r.upstream)


cdef void release_all(Plane *p, Relay *r) noexcept nogil:
    """Everything the exchange took; the downstream conn stays."""
    leave_queue(r)
    stop_waiting(p, r)
    release_attempt(p, r)
    release_permit(p, r)
    buffer_release(&r.replay, &p.blocks)
    buffer_release(&r.partial_event, &p.blocks)
