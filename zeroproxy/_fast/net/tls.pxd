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

cdef bint tls_load() noexcept nogil
cdef bint tls_open(Plane *p, Conn *c, void *ctx, const char *name) noexcept nogil
cdef void tls_close(Conn *c) noexcept nogil
cdef void tls_note(Conn *c, uint32_t events) noexcept nogil
cdef TlsStep tls_handshake(Conn *c) noexcept nogil
cdef ssize_t tls_recv(Conn *c, char *buf, size_t cap) noexcept nogil
cdef ssize_t tls_send(Conn *c, const char *at, size_t n) noexcept nogil
cdef bint tls_pump(Conn *c) noexcept nogil
cdef bint tls_send_close_notify(Conn *c) noexcept nogil


cdef inline int tls_fault(const Conn *c) noexcept nogil:
    """TlsFault of a conn that failed in its handshake; TLS_FAULT_NONE also without TLS."""
    return (<const Tls *>c.tls).fault if c.tls != NULL else 0


cdef inline bint tls_is_shaking(const Conn *c) noexcept nogil:
    return c.tls != NULL and (<const Tls *>c.tls).shaking
