from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

from zeroproxy._fast.types.plane cimport Conn, Plane

cdef enum:
    RECV_EMPTY = -2         # no byte now
    RECV_FAILED = -1        # errno in conn.error
    CONNECT_MORE = -1       # of conn_finish_connect: report again

# Leave the functions of conns in the plane. Once, at its start.
cdef void conn_install(Plane *p) noexcept nogil

# ---- reports and reads

# Remember readiness and failure from an epoll report.
cdef void conn_on_events(Conn *c, uint32_t events) noexcept nogil
# Bytes read; 0: FIN; RECV_EMPTY; RECV_FAILED: c.error is set.
cdef ssize_t conn_recv(Conn *c, char *buf, size_t cap) noexcept nogil

# ---- sends

# Send, or keep what does not fit, copied. 0: the conn is broken.
cdef bint conn_send(Plane *p, Conn *c, const char *at, size_t n) noexcept nogil
# Send what is deferred on every conn.
cdef void conn_flush_all_deferred(Plane *p) noexcept nogil
# Send what is deferred on this conn.
cdef void conn_flush_deferred(Plane *p, Conn *c) noexcept nogil
# Add to `overhead` the time until the last bytes are handed over. It lives as long as the plane.
cdef void conn_time_deferred(Plane *p, Conn *c, uint64_t *overhead) noexcept nogil
# Send the out-buffer. 1: nothing waits any more.
cdef bint conn_flush(Plane *p, Conn *c) noexcept nogil

# ---- ends of a direction

# Read and drop bytes in the kernel, so that a close sends FIN, not RST.
cdef void conn_discard_unread(Conn *c) noexcept nogil
# Send our FIN; reading goes on. 0: the socket is full, call again.
cdef bint conn_shut(Plane *p, Conn *c) noexcept nogil
# Send the end of TLS before a close. 0: the socket is full, call again.
cdef bint conn_send_close_notify(Conn *c) noexcept nogil
# Forbid TLS to announce a clean end: what was sent is not the whole.
cdef void conn_forbid_close_notify(Conn *c) noexcept nogil

# ---- looks at the socket

# A byte can be read; an end or a failure alone is none.
cdef bint conn_has_bytes(Conn *c) noexcept nogil
# Let TLS take in its own records, so that may_read means data.
cdef void conn_pump_tls(Conn *c) noexcept nogil
# The kernel has nothing to read either.
cdef bint conn_is_silent(Conn *c) noexcept nogil

# ---- open and close

# Close with FIN, return buffers and timer. Twice is harmless. Deferred bytes go out first
# downstream; upstream they are dropped.
cdef void conn_close(Plane *p, Conn *c) noexcept nogil
# Close with RST, so that a cut body of HTTP/1.0 looks cut.
cdef void conn_reset(Plane *p, Conn *c) noexcept nogil
# Take over a non-blocking descriptor and register it. -1: errno is set, not taken over.
cdef int conn_watch(Plane *p, Conn *c, int fd) noexcept nogil
# The connect has ended at once, as over loopback; TLS may go on.
cdef bint conn_is_connected(Conn *c) noexcept nogil
# After a report: 0, the errno of the failure, or CONNECT_MORE.
cdef int conn_finish_connect(Conn *c) noexcept nogil


# Bytes wait in the out-buffer.
cdef inline bint conn_is_backed_up(const Conn *c) noexcept nogil:
    return c.outbuf.cap != 0


cdef inline bint conn_can_accept(Plane *p, Conn *c) noexcept nogil:
    """True if its source may be read: all sent bytes are with the kernel."""
    if c.deferred:
        conn_flush_deferred(p, c)
    return not conn_is_backed_up(c)
