"""What an exchange took and how it is given back; the one record it leaves.

Law 1. Every exchange that reached PHASE_HEAD writes exactly one record, whatever happened.
Law 2. A permit lives from admission to the last byte from upstream; it passes straight to the
       first in the queue, so a waiting relay is never overtaken.
Law 3. A relay struct goes back to the free list only from ACT_CLOSE.
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, realloc
from libc.string cimport memcpy, memset

from zeroproxy._fast.breaker cimport attempt_ends
from zeroproxy._fast.buffer cimport buffer_give_back
from zeroproxy._fast.conn cimport conn_discard_unread
from zeroproxy._fast.endpoint cimport endpoint_put_idle, endpoint_retire
from zeroproxy._fast.invariant cimport invariant
from zeroproxy._fast.line cimport line_join, line_leave
from zeroproxy._fast.metering cimport meter_finish
from zeroproxy._fast.pace cimport pace_ends
from zeroproxy._fast.plane cimport Plane, Record, Relay, Upstream
from zeroproxy._fast.pool_types cimport CLOSED_EXCHANGE
from zeroproxy._fast.ring cimport Ring, ring_push
from zeroproxy._fast.stats cimport (
    ALL_OTHERS,
    Stats,
    histogram_add,
    stats_count,
    stats_knows,
    stats_spill,
)
from zeroproxy._fast.timer cimport timer_init
from zeroproxy._fast.types cimport BLAME_NOBODY, CAUSE_DONE, NONE, PHASE_CLOSED, PHASE_IDLE


# ---------------------------------------------------------------- relay structs


cdef bint remember(Plane *p, Relay *r) noexcept nogil:
    cdef Relay **grown
    cdef size_t cap
    if p.n_relays == p.cap_relays:
        cap = p.cap_relays * 2 if p.cap_relays else 64
        grown = <Relay **>realloc(p.relays, cap * sizeof(Relay *))
        if grown == NULL:
            return 0
        p.relays = grown
        p.cap_relays = <unsigned int>cap
    p.relays[p.n_relays] = r
    p.n_relays += 1
    return 1


cdef Relay *relay_take(Plane *p) noexcept nogil:
    """A relay in PHASE_IDLE without a descriptor; NULL: no memory."""
    cdef Relay *r = p.free_relays
    if r != NULL:
        p.free_relays = r.run_next
    else:
        r = <Relay *>calloc(1, sizeof(Relay))
        if r == NULL or not remember(p, r):
            return NULL
    memset(r, 0, sizeof(Relay))
    r.down.fd = -1
    r.down.owner = r
    r.down.reporter = r
    r.live = 1
    timer_init(&r.down.timer, p.on_relay_due, r)
    p.counters.relays += 1
    return r


cdef void relay_release(Plane *p, Relay *r) noexcept nogil:
    """Back to the free list; everything it held must have been given back."""
    invariant(r.up == NULL and r.held.cap == 0 and not r.holds_permit and r.down.fd < 0)
    r.live = 0
    r.phase = PHASE_CLOSED
    p.counters.relays -= 1
    if not r.in_run:
        r.run_next = p.free_relays
        p.free_relays = r


cdef void relay_reset(Plane *p, Relay *r) noexcept nogil:
    """Forget the exchange that has ended; the downstream conn stays."""
    cdef char *begin = <char *>&r.phase
    buffer_give_back(&r.held, &p.blocks)
    buffer_give_back(&r.part, &p.blocks)
    memset(begin, 0, <size_t>(<char *>r + sizeof(Relay) - begin))
    r.phase = PHASE_IDLE
    r.upstream = NULL
    r.endpoint = NULL
    r.down.since_ns = p.now_ns
    r.down.served += 1


cdef void relay_later(Plane *p, Relay *r) noexcept nogil:
    """Give the relay a turn at the end of this drain. Work for another relay, and the next
    pipelined request, go this way so that nothing recurses."""
    if r.in_run:
        return
    r.in_run = 1
    r.run_next = NULL
    if p.run_tail != NULL:
        p.run_tail.run_next = r
    else:
        p.run_head = r
    p.run_tail = r


# ---------------------------------------------------------------- outcome and record


cdef void blame(Relay *r, int who, int why) noexcept nogil:
    """Note why the exchange ends. The first cause stands: what follows is its consequence."""
    if r.cause == CAUSE_DONE and r.blame == BLAME_NOBODY:
        r.blame = <unsigned char>who
        r.cause = <unsigned char>why
        r.ended_in = r.phase


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
    if r.own_ns:
        histogram_add(&u.overhead, r.own_ns)


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
    if record.exactness == NONE and not stats_knows(s, record):
        record.model_len = 0


cdef void write_record(Plane *p, Relay *r) noexcept nogil:
    """One record per exchange; a second call does nothing."""
    cdef Record record
    if r.settled or not r.began_ns:
        return
    r.settled = 1
    memset(&record, 0, sizeof(record))
    p.serial += 1
    p.counters.exchanges += 1
    record.serial = p.serial
    record.began_wall_ns = r.began_wall_ns
    record.queue_ns = span_ns(r.queued_ns, r.admitted_ns)
    record.connect_ns = span_ns(r.attempt_ns, r.sent_ns)
    record.ttft_ns = span_ns(r.began_ns, r.first_ns)
    record.total_ns = span_ns(r.began_ns, p.now_ns)
    record.gap_max_ns = r.gap_max_ns
    if r.is_streamed and r.n_reads > 1:
        record.gap_mean_ns = span_ns(r.first_ns, r.heard_ns) // (r.n_reads - 1)
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
    record.tried = r.tried
    meter_finish(r, &record)
    name_record(r, &record)
    bound_model(<Stats *>p.stats, &record)
    observe(p, r, &record)
    stats_count(<Stats *>p.stats, &record)
    if not ring_push(<Ring *>p.ring, &record):
        stats_spill(<Stats *>p.stats, &record)


# ---------------------------------------------------------------- giving back


cdef void give_back_upstream_conn(Plane *p, Relay *r) noexcept nogil:
    if r.up == NULL:
        return
    if r.keeps_upstream and r.reply.done and not r.up.saw_fin and not r.up.broken:
        r.up.served += 1
        endpoint_put_idle(p, r.up)
    else:
        conn_discard_unread(r.up)
        endpoint_retire(p, r.up, CLOSED_EXCHANGE)
    r.up = NULL
    wake_waiting(p, r.upstream)


cdef void give_back_attempt(Plane *p, Relay *r) noexcept nogil:
    """The upstream conn and the endpoint's in-flight count; the permit stays."""
    if r.endpoint != NULL and r.on_endpoint:
        pace_ends(p, r)
        attempt_ends(p, r)
    give_back_upstream_conn(p, r)
    r.keeps_upstream = 0
    r.up_paused = 0
    r.heard = 0


cdef void give_back_permit(Plane *p, Relay *r) noexcept nogil:
    cdef Upstream *u = r.upstream
    if not r.holds_permit:
        return
    r.holds_permit = 0
    p.counters.permits -= 1
    invariant(u.inflight > 0)
    u.inflight -= 1
    admit_waiting(p, u)


cdef void admit_waiting(Plane *p, Upstream *u) noexcept nogil:
    """Permits for the first in the queue, as many as there are."""
    cdef Relay *waiting
    while u.queue.head != NULL and (u.max_inflight == 0 or u.inflight < u.max_inflight):
        waiting = u.queue.head
        leave_queue(waiting)
        u.inflight += 1
        waiting.holds_permit = 1
        waiting.admitted_ns = p.now_ns
        p.counters.permits += 1
        relay_later(p, waiting)


cdef void leave_queue(Relay *r) noexcept nogil:
    if r.is_queued:
        r.is_queued = 0
        line_leave(&r.upstream.queue, r)


cdef void wake_waiting(Plane *p, Upstream *u) noexcept nogil:
    """There may be room for a conn: the first in line looks for itself."""
    if u.waiting.head != NULL:
        relay_later(p, u.waiting.head)


cdef void wait_for_conn(Plane *p, Relay *r) noexcept nogil:
    if r.waits_conn:
        return
    r.waits_conn = 1
    r.attempt_ns = p.now_ns
    line_join(&r.upstream.waiting, r)
    r.upstream.n_waited += 1


cdef void stop_waiting(Plane *p, Relay *r) noexcept nogil:
    """Out of the line; who is first now looks whether there is room for two."""
    if r.waits_conn:
        r.waits_conn = 0
        line_leave(&r.upstream.waiting, r)
        wake_waiting(p, r.upstream)


cdef void give_back_all(Plane *p, Relay *r) noexcept nogil:
    """Everything the exchange took; the downstream conn stays."""
    leave_queue(r)
    stop_waiting(p, r)
    give_back_attempt(p, r)
    give_back_permit(p, r)
    buffer_give_back(&r.held, &p.blocks)
    buffer_give_back(&r.part, &p.blocks)
