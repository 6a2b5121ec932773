from libc.stddef cimport size_t
from libc.stdint cimport uint32_t

from zeroproxy._fast.types.plane cimport Conn, Plane
from zeroproxy._fast.types.tls cimport Tls

cdef enum TlsStep:
    TLS_DONE = 0
    TLS_MORE
    TLS_FAILED

cdef enum:
    TLS_EMPTY = -2          # the numbers of conn.RECV_EMPTY and RECV_FAILED
    TLS_BROKEN = -1

# Load OpenSSL, before anything else. 0: OpenSSL 3 is not there.
cdef bint tls_load() noexcept nogil
# Begin TLS on a conn. `name`: of the server; NULL: the proxy is it. 0: no memory.
cdef bint tls_open(Plane *p, Conn *c, void *ctx, const char *name) noexcept nogil
# Announce the end if that is due, and free everything. The descriptor stays.
cdef void tls_close(Conn *c) noexcept nogil
# Remember readiness of the socket from an epoll report; conn_on_events comes first.
cdef void tls_note(Conn *c, uint32_t events) noexcept nogil
# Go on with the handshake: done, more, or failed.
cdef TlsStep tls_handshake(Conn *c) noexcept nogil
# Read as conn_recv does; fills `buf` from as many records as there are.
cdef ssize_t tls_recv(Conn *c, char *buf, size_t cap) noexcept nogil
# Bytes taken (fewer: the socket is full), or -1: broken.
cdef ssize_t tls_send(Conn *c, const char *at, size_t n) noexcept nogil
# Take in records of TLS itself (tickets, key updates). 1: data can be read.
cdef bint tls_pump(Conn *c) noexcept nogil
# Send close_notify. 1: it is out, or none is due; 0: the socket is full.
cdef bint tls_send_close_notify(Conn *c) noexcept nogil


cdef inline int tls_fault(const Conn *c) noexcept nogil:
    """TlsFault of a conn that failed in its handshake; TLS_FAULT_NONE also without TLS."""
    return (<const Tls *>c.tls).fault if c.tls != NULL else 0


# The handshake goes on.
cdef inline bint tls_is_shaking(const Conn *c) noexcept nogil:
    return c.tls != NULL and (<const Tls *>c.tls).shaking
