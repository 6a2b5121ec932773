"""What an exchange took and how it is given back; the one record it leaves.

Law 1. Every exchange that reached PHASE_HEAD writes exactly one record, whatever happened.
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
    """Who the exchange was: ids, path, trace."""
    record.trace_flags = r.x.trace_flags
    record.has_parent = r.x.has_parent
    memcpy(record.trace, r.x.trace, sizeof(r.x.trace))
    memcpy(record.span, r.x.span, sizeof(r.x.span))
    memcpy(record.parent, r.x.parent, sizeof(r.x.parent))
    record.id_len = r.x.id_len
    memcpy(record.request_id, r.x.request_id, r.x.id_len)
    record.path_len = r.x.path_len
    memcpy(record.path, r.x.path, r.x.path_len)


cdef void bound_model(const Stats *s, Record *record) noexcept nogil:
    """A name nobody has ever answered for is no label: callers could make up one per request."""
    if record.exactness == EXACTNESS_NONE and not stats_knows(s, record):
        record.model_len = 0


cdef void charge(Plane *p, Relay *r, const Record *record) noexcept nogil:
    """To the quota of its key, and to its tenant's share of the upstream."""
    if r.x.key != NULL:
        quota_settle(&p.keys, r.x.key, r.x.reserved, tokens_spent(r, record), p.now_ns)
    if r.x.charged:
        share_settle(&r.x.upstream.queue, r, record)


cdef void write_record(Plane *p, Relay *r) noexcept nogil:
    """One record per exchange; a second call does nothing."""
    cdef Record record
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
    record.endpoint = <unsigned short>r.attempt.endpoint.index if r.attempt.endpoint != NULL else ALL_OTHERS
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


# ---------------------------------------------------------------- giving back


cdef void release_upstream_conn(Plane *p, Relay *r) noexcept nogil:
    if r.attempt.conn == NULL:
        return
    if r.attempt.keeps_conn and r.x.response_body.done and not (r.attempt.conn.saw_fin or r.attempt.conn.broken or r.attempt.conn.deferred):
        r.attempt.conn.served += 1
        release_idle_conn(p, r.attempt.conn)
    else:
        conn_discard_unread(r.attempt.conn)
        endpoint_retire(p, r.attempt.conn, CLOSED_EXCHANGE)
    r.attempt.conn = NULL
    wake_waiting(p, r.x.upstream)


cdef void swap_rival(Relay *r) noexcept nogil:
    """The other attempt is the one that r.attempt.conn, r.attempt.endpoint and the like speak of."""
    cdef Rival was = r.hedge
    r.hedge.conn, r.attempt.conn = r.attempt.conn, was.up
    r.hedge.endpoint, r.attempt.endpoint = r.attempt.endpoint, was.endpoint
    r.hedge.ticket, r.attempt.ticket = r.attempt.ticket, was.trial
    r.hedge.began_ns, r.attempt.began_ns = r.attempt.began_ns, was.attempt_ns
    r.hedge.sent_ns, r.attempt.sent_ns = r.attempt.sent_ns, was.sent_ns
    r.hedge.load_area, r.attempt.load_area = r.attempt.load_area, was.pace_area
    r.hedge.load, r.attempt.load = r.attempt.load, was.pace_q
    r.hedge.was_reused, r.attempt.was_reused = r.attempt.was_reused, was.was_reused
    r.hedge.counted, r.attempt.counted = r.attempt.counted, was.on_endpoint


cdef void drop_rival(Plane *p, Relay *r) noexcept nogil:
    """The other attempt is not needed any more; it says nothing about its endpoint but what stands
    in its trial."""
    cdef unsigned char keeps = r.attempt.keeps_conn
    if r.hedge.endpoint == NULL:
        return
    swap_rival(r)
    r.attempt.keeps_conn = 0
    if r.attempt.counted:
        latency_attempt_ends(p, r)
        attempt_ends(p, r)
    release_upstream_conn(p, r)
    r.attempt.keeps_conn = keeps
    swap_rival(r)
    memset(&r.hedge, 0, sizeof(Rival))


cdef void release_attempt(Plane *p, Relay *r) noexcept nogil:
    """The upstream conn and the endpoint's in-flight count; the permit stays."""
    drop_rival(p, r)
    if r.attempt.endpoint != NULL and r.attempt.counted:
        latency_attempt_ends(p, r)
        attempt_ends(p, r)
    release_upstream_conn(p, r)
    r.attempt.keeps_conn = 0
    r.attempt.paused = 0
    r.attempt.got_byte = 0


cdef void wake_waiting(Plane *p, Upstream *u) noexcept nogil:
    """There may be room for a conn: the first in line looks for itself."""
    if u.conn_waiters.head != NULL:
        relay_later(p, u.conn_waiters.head)


cdef void wait_for_conn(Plane *p, Relay *r) noexcept nogil:
    if r.x.waits_conn:
        return
    r.x.waits_conn = 1
    r.attempt.began_ns = p.now_ns
    fifo_push(&r.x.upstream.conn_waiters, r)
    r.x.upstream.n_waited += 1


cdef void stop_waiting(Plane *p, Relay *r) noexcept nogil:
    """Out of the line; who is first now looks whether there is room for two."""
    if r.x.waits_conn:
        r.x.waits_conn = 0
        fifo_remove(&r.x.upstream.conn_waiters, r)
        wake_waiting(p, r.x.upstream)


cdef void release_all(Plane *p, Relay *r) noexcept nogil:
    """Everything the exchange took; the downstream conn stays."""
    leave_queue(r)
    stop_waiting(p, r)
    release_attempt(p, r)
    release_permit(p, r)
    buffer_release(&r.x.replay, &p.blocks)
    buffer_release(&r.x.partial_event, &p.blocks)
