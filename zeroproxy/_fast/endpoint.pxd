from libc.stdint cimport int64_t, uint64_t

from zeroproxy._fast.plane cimport Conn, Endpoint, Plane, Upstream


cdef enum Balance:
    BALANCE_ROUND_ROBIN = 0
    BALANCE_LEAST_INFLIGHT

cdef bint upstream_is_full(const Upstream *u, uint64_t now) noexcept nogil
cdef int64_t upstream_room(const Upstream *u, uint64_t now, int64_t *total) noexcept nogil
cdef Endpoint *upstream_pick(Upstream *u, const Endpoint *avoid, uint64_t now) noexcept nogil
cdef uint64_t upstream_wait(const Upstream *u, uint64_t now) noexcept nogil
cdef Conn *endpoint_take_idle(Plane *p, Endpoint *e) noexcept nogil
cdef Conn *endpoint_connect(Plane *p, Endpoint *e) noexcept nogil
cdef void endpoint_put_idle(Plane *p, Conn *c) noexcept nogil
cdef void endpoint_discard(Plane *p, Conn *c) noexcept nogil
cdef void unlink_idle(Endpoint *e, Conn *c) noexcept nogil
cdef void endpoint_retire(Plane *p, Conn *c, int why) noexcept nogil
cdef void endpoint_lose_idle(Plane *p, Conn *c) noexcept nogil
cdef bint endpoint_has_room(const Plane *p, const Endpoint *e) noexcept nogil
cdef void endpoint_forget(Endpoint *e) noexcept nogil
cdef void endpoint_want_warm(Plane *p, Endpoint *e) noexcept nogil
cdef void endpoint_drop_idle(Plane *p, Endpoint *e) noexcept nogil
cdef void endpoint_drop_oldest(Plane *p, Endpoint *e) noexcept nogil
