"""A conn for an attempt: where there is room for one; a rested one or a new one.

Law 1. `pool.max_connections` is per endpoint; who finds every endpoint at its cap waits in its
       upstream's line, in the order of arrival and no longer than `admission.queue_timeout`.
Law 2. A rested conn may be dead by the time it is used. So what could not be sent again (a request
       too long to be held) goes out on a new one, and so does what has met a dead one before.
"""

from libc.stdint cimport uint32_t

from zeroproxy._fast.exchange.relay_pool cimport blame
from zeroproxy._fast.exchange.release cimport stop_waiting, wait_for_conn
from zeroproxy._fast.memory.buffer cimport buffer_len
from zeroproxy._fast.net.conn cimport conn_is_connected
from zeroproxy._fast.net.syscalls cimport EMFILE, ENFILE, ENOBUFS, ENOMEM, errno
from zeroproxy._fast.types.clock cimport clock_monotonic_ns
from zeroproxy._fast.types.exchange cimport (
    BLAME_OURSELVES,
    BLAME_UPSTREAM,
    CAUSE_NO_ENDPOINT,
    CAUSE_OVERLOAD,
)
from zeroproxy._fast.types.http cimport FRAMING_CHUNKED
from zeroproxy._fast.types.memory cimport BLOCK_LARGE
from zeroproxy._fast.types.plane cimport Endpoint, Plane, Relay, Upstream
from zeroproxy._fast.upstream.balancer cimport upstream_is_full, upstream_pick
from zeroproxy._fast.upstream.breaker cimport upstream_release
from zeroproxy._fast.upstream.endpoint cimport (
    acquire_idle_conn,
    endpoint_connect,
    endpoint_drop_oldest,
)

cdef enum:
    SPARE = 4096            # of the held block: request.body_room stops that far from its end


cdef bint must_open_conn(const Relay *r) noexcept nogil:
    if r.x.needs_fresh_conn or r.x.request_body.done:
        return r.x.needs_fresh_conn
    return (
        not r.x.replayable or r.x.request_body.framing == FRAMING_CHUNKED
        or r.x.request_body.left + buffer_len(&r.x.replay) + SPARE > BLOCK_LARGE
    )


cdef Endpoint *checkout_endpoint(Plane *p, Relay *r) noexcept nogil:
    """Where the next attempt goes; NULL: r waits in line (r.x.waits_conn), or there is no endpoint,
    or no end of the line (blamed)."""
    cdef Upstream *u = r.x.upstream
    cdef Endpoint *e = NULL
    if u.conn_waiters.head == NULL or u.conn_waiters.head == r:
        e = upstream_pick(u, r.attempt.endpoint, r.x.affinity, p.now_ns)
        if e == NULL and not upstream_is_full(u, p.now_ns) and upstream_release(p, u):
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
        # It was queued until now, whatever for.
        r.x.admitted_ns = p.now_ns
        stop_waiting(p, r)
    return e


cdef void evict_idle_conn(Plane *p, Endpoint *e) noexcept nogil:
    """If one conn more is one too many, for the endpoint or for the descriptors, an idle one goes:
    in the second case of any endpoint."""
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
    """Give r a conn to r.attempt.endpoint: rested (`was_reused`), or new, and mostly still connecting; r.attempt.conn
    stays NULL if it cannot be opened."""
    cdef Endpoint *e = r.attempt.endpoint
    cdef bint is_new = must_open_conn(r)
    r.attempt.was_reused = 0
    r.attempt.conn = NULL if is_new else acquire_idle_conn(p, e)
    if r.attempt.conn != NULL:
        r.attempt.was_reused = 1
    else:
        evict_idle_conn(p, e)
        r.attempt.conn = endpoint_connect(p, e)
        if r.attempt.conn != NULL and conn_is_connected(r.attempt.conn):
            # What the connect took is to be told apart from the send that follows.
            p.now_ns = clock_monotonic_ns()
    if r.attempt.conn != NULL:
        r.attempt.conn.owner = r


cdef bint failed_for_lack_of_fds() noexcept nogil:
    """Whether a connect failed for want of a descriptor or memory: no other endpoint would help."""
    return errno == EMFILE or errno == ENFILE or errno == ENOMEM or errno == ENOBUFS
