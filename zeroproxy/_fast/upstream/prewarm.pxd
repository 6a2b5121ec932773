from zeroproxy._fast.types.plane cimport Conn, Endpoint, Plane

cdef void prewarm_init(Endpoint *e) noexcept nogil
cdef void prewarm_begin(Plane *p, Endpoint *e) noexcept nogil
cdef void prewarm_stop(Plane *p, Endpoint *e) noexcept nogil
cdef void prewarm_ready(Plane *p, Conn *c) noexcept nogil
cdef void prewarm_due(Plane *p, Conn *c) noexcept nogil
