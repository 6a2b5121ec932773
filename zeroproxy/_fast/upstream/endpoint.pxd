from zeroproxy._fast.types.plane cimport Conn, ConnList, Endpoint, Plane

cdef Conn *acquire_idle_conn(Plane *p, Endpoint *e) noexcept nogil
cdef Conn *endpoint_connect(Plane *p, Endpoint *e) noexcept nogil
cdef void release_idle_conn(Plane *p, Conn *c) noexcept nogil
cdef void release_conn(Plane *p, Conn *c) noexcept nogil
cdef void conn_list_push(ConnList *l, Conn *c) noexcept nogil
cdef void conn_list_remove(ConnList *l, Conn *c) noexcept nogil
cdef void endpoint_retire(Plane *p, Conn *c, int why) noexcept nogil
cdef void endpoint_lose_idle(Plane *p, Conn *c) noexcept nogil
cdef bint endpoint_may_connect(const Plane *p, const Endpoint *e) noexcept nogil
cdef void endpoint_forget(Endpoint *e) noexcept nogil
cdef void endpoint_want_warm(Plane *p, Endpoint *e) noexcept nogil
cdef void endpoint_drop_idle(Plane *p, Endpoint *e) noexcept nogil
cdef void endpoint_drop_oldest(Plane *p, Endpoint *e) noexcept nogil
