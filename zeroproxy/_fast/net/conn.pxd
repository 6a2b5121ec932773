from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

from zeroproxy._fast.types.plane cimport Conn, Plane

cdef enum:
    RECV_EMPTY = -2         # nothing there now
    RECV_FAILED = -1        # conn.error says why
    CONNECT_MORE = -1       # of conn_finish_connect: report again

cdef void conn_install(Plane *p) noexcept nogil
cdef void conn_on_events(Conn *c, uint32_t events) noexcept nogil
cdef ssize_t conn_recv(Conn *c, char *buf, size_t cap) noexcept nogil
cdef bint conn_send(Plane *p, Conn *c, const char *at, size_t n) noexcept nogil
cdef void conn_flush_all_deferred(Plane *p) noexcept nogil
cdef void conn_flush_deferred(Plane *p, Conn *c) noexcept nogil
cdef void conn_time_deferred(Plane *p, Conn *c, uint64_t *own) noexcept nogil
cdef bint conn_flush(Plane *p, Conn *c) noexcept nogil
cdef void conn_discard_unread(Conn *c) noexcept nogil
cdef bint conn_shut(Plane *p, Conn *c) noexcept nogil
cdef bint conn_send_close_notify(Conn *c) noexcept nogil
cdef void conn_forbid_close_notify(Conn *c) noexcept nogil
cdef bint conn_has_bytes(Conn *c) noexcept nogil
cdef void conn_pump_tls(Conn *c) noexcept nogil
cdef bint conn_is_silent(Conn *c) noexcept nogil
cdef void conn_close(Plane *p, Conn *c) noexcept nogil
cdef void conn_reset(Plane *p, Conn *c) noexcept nogil
cdef int conn_watch(Plane *p, Conn *c, int fd) noexcept nogil
cdef bint conn_is_connected(Conn *c) noexcept nogil
cdef int conn_finish_connect(Conn *c) noexcept nogil


cdef inline bint conn_is_backed_up(const Conn *c) noexcept nogil:
    return c.outbuf.cap != 0


cdef inline bint conn_can_accept(Plane *p, Conn *c) noexcept nogil:
    """Whether its source may be read: all that was sent is with the kernel."""
    if c.deferred:
        conn_flush_deferred(p, c)
    return not conn_is_backed_up(c)
