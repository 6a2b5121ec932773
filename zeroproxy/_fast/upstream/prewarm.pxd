from zeroproxy._fast.types.plane cimport Conn, Endpoint, Plane

cdef void idle_init(Endpoint *e) noexcept nogil
cdef void idle_begin(Plane *p, Endpoint *e) noexcept nogil
cdef void idle_stop(Plane *p, Endpoint *e) noexcept nogil
cdef void idle_ready(Plane *p, Conn *c) noexcept nogil
cdef void idle_due(Plane *p, Conn *c) noexcept nogil
