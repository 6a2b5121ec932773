"""Checkout of a conn for an attempt: the endpoint, then an idle conn or a new one.

Law 1. `pool.max_connections` is per endpoint. If every endpoint is at its limit, the exchange waits
       in its upstream's fifo, no longer than `admission.queue_timeout`.
Law 2. An idle conn may be dead by the time it is used. So a request too long for the replay buffer,
       which could not be sent again, gets a new conn. So does one that has met a dead conn before.
Tests: tests/relay/test_caps.py, tests/relay/test_pools.py.
"""

from libc.stdint cimport uint32_t

from zeroproxy._fast.exchange.attempt_release cimport stop_waiting, wait_for_conn
from zeroproxy._fast.exchange.relay_pool cimport blame
from zeroproxy._fast.memory.buffer cimport buffer_len
from zeroproxy._fast.net.conn cimport conn_is_connected
from zeroproxy._fast.net.syscalls cimport EMFILE, ENFILE, ENOBUFS, ENOMEM, errno
from zeroproxy._fast.types.clock cimport clock_monotonic_ns
from zeroproxy._fast.types.exchange_enums cimport (
    BLAME_OURSELVES,
    BLAME_UPSTREAM,
    CAUSE_NO_ENDPOINT,
    CAUSE_OVERLOAD,
)
from zeroproxy._fast.types.http cimport FRAMING_CHUNKED
from zeroproxy._fast.types.memory cimport BLOCK_LARGE
from zeroproxy._fast.types.plane cimport Attempt, Endpoint, Plane, Relay, Upstream
from zeroproxy._fast.upstream.balancer cimport upstream_is_full, upstream_pick
from zeroproxy._fast.upstream.breaker cimport upstream_readmit
from zeroproxy._fast.upstream.conn_pool cimport (
    acquire_idle_conn,
    endpoint_connect,
    endpoint_drop_oldest,
)

cdef enum:
    SPARE = 4096            # of the replay buffer: request/reader stops that far from its end


cdef bint must_open_conn(const Relay *r) noexcept nogil:
    if r.x.needs_fresh_conn or r.x.request_body.done:
        return r.x.needs_fresh_conn
    return (
        not r.x.replayable or r.x.request_body.framing == FRAMING_CHUNKED
        or r.x.request_body.left + buffer_len(&r.x.replay) + SPARE > BLOCK_LARGE
    )


cdef Endpoint *checkout_endpoint(Plane *p, Relay *r) noexcept nogil:
    """NULL, if `r` does not wait: no endpoint is in rotation, or the fifo is full."""
    cdef Upstream *u = r.x.upstream
    cdef Endpoint *e = NULL
    if u.conn_waiters.head == NULL or u.conn_waiters.head == r:
        e = upstream_pick(u, r.attempt.endpoint, r.x.affinity, p.now_ns)
        if e == NULL and not upstream_is_full(u, p.now_ns) and upstream_readmit(p, u):
            e = upstream_pick(u, r.attempt.endpoint, r.x.affinity, p.now_ns)
        if e == NULL and not upstream_is_full(u, p.now_ns):
            stop_waiting(p, r)
            blame(r, BLAME_UPSTREAM, CAUSE_NO_ENDPOINT)
            return NULL
    if e == NULL and (r.x.waits_conn or u.conn_waiters.n < u.admission.queue_max):
        wait_for_conn(p, r)
    elif e == NULL:
        blame(r, BLAME_OURSELVES, CAUSE_OVERLOAD)
    elif r.x.waits_conn:
        # To the record, the wait for a conn is time in the queue.
        r.x.admitted_ns = p.now_ns
        stop_waiting(p, r)
    return e


cdef void evict_idle_conn(Plane *p, Endpoint *e) noexcept nogil:
    """Close an idle conn if the endpoint is at its limit, or any idle conn if the plane is."""
    cdef uint32_t i
    if e.pool.max_connections and e.n_conns >= e.pool.max_connections:
        endpoint_drop_oldest(p, e)
    if p.counters.upstream_conns < p.limits.connections:
        return
    for i in range(p.n_endpoints):
        if p.endpoints[i].idle.n:
            endpoint_drop_oldest(p, p.endpoints[i])
            return


cdef void checkout_conn(Plane *p, Relay *r) noexcept nogil:
    """A new conn is usually still connecting."""
    cdef Attempt *a = &r.attempt
    a.conn = NULL if must_open_conn(r) else acquire_idle_conn(p, a.endpoint)
    a.was_reused = a.conn != NULL
    if a.conn == NULL:
        evict_idle_conn(p, a.endpoint)
        a.conn = endpoint_connect(p, a.endpoint)
        if a.conn != NULL and conn_is_connected(a.conn):
            # The record separates the time of the connect from that of the send.
            p.now_ns = clock_monotonic_ns()
    if a.conn != NULL:
        a.conn.owner = r


cdef bint failed_for_lack_of_fds() noexcept nogil:
    return errno == EMFILE or errno == ENFILE or errno == ENOMEM or errno == ENOBUFS
