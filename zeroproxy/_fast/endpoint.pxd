from libc.stdint cimport uint32_t, uint64_t

from zeroproxy._fast.plane cimport Conn, Endpoint, Plane, Upstream


cdef enum Balance:
    BALANCE_ROUND_ROBIN = 0
    BALANCE_LEAST_INFLIGHT

cdef Endpoint *upstream_pick(Upstream *u, const Endpoint *avoid, uint64_t now) noexcept nogil
cdef uint64_t upstream_wait(const Upstream *u, uint64_t now) noexcept nogil
cdef Conn *endpoint_take_idle(Plane *p, Endpoint *e) noexcept nogil
cdef Conn *endpoint_connect(Plane *p, Endpoint *e) noexcept nogil
cdef void endpoint_put_idle(Plane *p, Conn *c) noexcept nogil
cdef void endpoint_discard(Plane *p, Conn *c) noexcept nogil
cdef void endpoint_idle_ready(Plane *p, Conn *c) noexcept nogil
cdef void endpoint_idle_due(Plane *p, Conn *c) noexcept nogil
cdef uint32_t endpoint_prewarm(Plane *p, Endpoint *e, uint32_t n) noexcept nogil
cdef void endpoint_drop_idle(Plane *p, Endpoint *e) noexcept nogil
