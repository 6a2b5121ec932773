from zeroproxy._fast.types.plane cimport Conn, Conns, Endpoint, Plane

cdef Conn *endpoint_take_idle(Plane *p, Endpoint *e) noexcept nogil
cdef Conn *endpoint_connect(Plane *p, Endpoint *e) noexcept nogil
cdef void endpoint_put_idle(Plane *p, Conn *c) noexcept nogil
cdef void endpoint_discard(Plane *p, Conn *c) noexcept nogil
cdef void conns_push(Conns *l, Conn *c) noexcept nogil
cdef void conns_remove(Conns *l, Conn *c) noexcept nogil
cdef void endpoint_retire(Plane *p, Conn *c, int why) noexcept nogil
cdef void endpoint_lose_idle(Plane *p, Conn *c) noexcept nogil
cdef bint endpoint_has_room(const Plane *p, const Endpoint *e) noexcept nogil
cdef void endpoint_forget(Endpoint *e) noexcept nogil
cdef void endpoint_want_warm(Plane *p, Endpoint *e) noexcept nogil
cdef void endpoint_drop_idle(Plane *p, Endpoint *e) noexcept nogil
cdef void endpoint_drop_oldest(Plane *p, Endpoint *e) noexcept nogil
