"""TLS on one conn: OpenSSL between the socket and the code that reads and writes the conn.

Law 1. `Tls.may_recv` and `may_send` are the socket's readiness, kept by our own BIO. It makes the
       system calls: a short recv means drained, and nothing signals (MSG_NOSIGNAL).
       `Conn.may_read` means that a read may give something. It also holds while decrypted bytes
       wait inside the SSL object, for which no edge would ever come.
Law 2. Bytes that SSL_write did not take are offered again with the same first bytes. The conn's
       out-buffer keeps them in order, so that a retry is never another text.
Law 3. Upstream, a FIN without close_notify is a failure: otherwise an attacker that cuts the line
       could end a body that ends with its conn. Downstream it is a FIN: requests have a length.
Law 4. OpenSSL's error queue is empty before each call and after each failure: it is the thread's,
       and Python's ssl module looks at it too.
Tests: tests/relay/test_tls.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free

from zeroproxy._fast.net.openssl cimport libssl, libssl_open
from zeroproxy._fast.net.syscalls cimport (
    EAGAIN,
    ECONNRESET,
    EINTR,
    ENOBUFS,
    EPOLLOUT,
    EPROTO,
    MSG_NOSIGNAL,
    errno,
    recv,
    send,
)
from zeroproxy._fast.net.tls cimport TLS_BROKEN, TLS_DONE, TLS_EMPTY, TLS_FAILED, TLS_MORE
from zeroproxy._fast.types.plane cimport Conn, Plane
from zeroproxy._fast.types.tls cimport (
    TLS_FAULT_ABANDONED,
    TLS_FAULT_ALERT,
    TLS_FAULT_CERTIFICATE,
    TLS_FAULT_CLOSED,
    TLS_FAULT_PLAIN,
    TLS_FAULT_PROTOCOL,
    LibSsl,
    Tls,
)


cdef enum:                  # numbers of OpenSSL 3's headers, fixed by its ABI
    SSL_ERROR_WANT_READ = 2
    SSL_ERROR_WANT_WRITE = 3
    SSL_ERROR_SYSCALL = 5
    SSL_ERROR_ZERO_RETURN = 6
    BIO_FLAGS_READ = 1
    BIO_FLAGS_WRITE = 2
    BIO_FLAGS_SHOULD_RETRY = 8
    BIO_FLAGS_ALL = 15
    BIO_CTRL_EOF = 2
    BIO_CTRL_FLUSH = 11
    BIO_TYPE_SOURCE_SINK = 0x400
    CTRL_SET_SERVER_NAME = 55
    ERR_REASON_MASK = 0x7FFFFF
    R_CERTIFICATE_VERIFY_FAILED = 134
    R_HTTPS_PROXY_REQUEST = 155
    R_HTTP_REQUEST = 156
    R_NO_CERTIFICATE = 199
    R_UNEXPECTED_EOF = 294
    R_ALERTS = 1000         # and above: an alert of the peer
    WRITE_MAX = 1 << 30     # SSL_write takes an int

# The table of net/openssl.pyx, and our way to the socket: set once, by tls_load.
cdef const LibSsl *lib = NULL
cdef void *bio_method = NULL


cdef bint tls_load() noexcept nogil:
    """Load OpenSSL, before anything else. 0: OpenSSL 3 is not there."""
    global lib
    if bio_method != NULL:
        return 1
    lib = libssl()
    return libssl_open() and make_bio_method()


cdef bint make_bio_method() noexcept nogil:
    global bio_method
    cdef void *method = lib.BIO_meth_new(BIO_TYPE_SOURCE_SINK, b"zeroproxy conn")
    if method == NULL:
        return 0
    lib.BIO_meth_set_read(method, bio_read)
    lib.BIO_meth_set_write(method, bio_write)
    lib.BIO_meth_set_ctrl(method, bio_control)
    bio_method = method
    return 1


# ---------------------------------------------------------------- the socket, as OpenSSL sees it


cdef int bio_wait(void *bio, int what) noexcept nogil:
    lib.BIO_set_flags(bio, what | BIO_FLAGS_SHOULD_RETRY)
    return -1


cdef int bio_read(void *bio, char *at, int n) noexcept nogil:
    cdef Conn *c = <Conn *>lib.BIO_get_data(bio)
    cdef Tls *t = <Tls *>c.tls
    cdef ssize_t got
    lib.BIO_clear_flags(bio, BIO_FLAGS_ALL)
    if t.at_eof:
        return 0
    if not t.may_recv:
        return bio_wait(bio, BIO_FLAGS_READ)
    while True:
        got = recv(c.fd, at, <size_t>n, 0)
        if got > 0:
            if got < n and not c.saw_fin and not c.broken:
                t.may_recv = 0
            return <int>got
        if got == 0:
            t.at_eof = 1
            return 0
        if errno == EINTR:
            continue
        t.may_recv = 0
        if errno == EAGAIN:
            return bio_wait(bio, BIO_FLAGS_READ)
        c.error = errno
        return -1


cdef int bio_write(void *bio, char *at, int n) noexcept nogil:
    cdef Conn *c = <Conn *>lib.BIO_get_data(bio)
    cdef Tls *t = <Tls *>c.tls
    cdef ssize_t sent
    lib.BIO_clear_flags(bio, BIO_FLAGS_ALL)
    if not t.may_send:
        return bio_wait(bio, BIO_FLAGS_WRITE)
    while True:
        sent = send(c.fd, at, <size_t>n, MSG_NOSIGNAL)
        if sent >= 0:
            if sent < n:
                t.may_send = 0
            return <int>sent
        if errno == EINTR:
            continue
        if errno == EAGAIN or errno == ENOBUFS:
            t.may_send = 0
            return bio_wait(bio, BIO_FLAGS_WRITE)
        c.error = errno
        return -1


cdef long bio_control(void *bio, int what, long number, void *at) noexcept nogil:
    if what == BIO_CTRL_FLUSH:
        return 1
    if what == BIO_CTRL_EOF:
        return (<Tls *>(<Conn *>lib.BIO_get_data(bio)).tls).at_eof
    return 0


# ---------------------------------------------------------------- start and end of a conn


cdef bint expect_name(void *ssl, const char *name) noexcept nogil:
    """Require that the server is `name`. An address is looked for among the certificate's
    addresses, and is not announced; a name is both. 0: no memory."""
    if lib.X509_VERIFY_PARAM_set1_ip_asc(lib.SSL_get0_param(ssl), name) == 1:
        return 1
    lib.ERR_clear_error()
    return lib.SSL_set1_host(ssl, name) == 1 \
        and lib.SSL_ctrl(ssl, CTRL_SET_SERVER_NAME, 0, <void *>name) == 1


cdef bint tls_open(Plane *p, Conn *c, void *ctx, const char *name) noexcept nogil:
    """Begin TLS on a conn whose descriptor is set or about to be. `name`: of the server; NULL: the
    proxy is it. 0: no memory."""
    cdef Tls *t = <Tls *>calloc(1, sizeof(Tls))
    cdef void *bio
    if t == NULL:
        return 0
    t.ssl = lib.SSL_new(ctx)
    bio = lib.BIO_new(bio_method) if t.ssl != NULL else NULL
    if bio != NULL:
        lib.SSL_set_bio(t.ssl, bio, bio)
        lib.BIO_set_data(bio, c)
        lib.BIO_set_init(bio, 1)
    if bio == NULL or (name != NULL and not expect_name(t.ssl, name)):
        lib.SSL_free(t.ssl)
        free(t)
        lib.ERR_clear_error()
        return 0
    if name != NULL:
        lib.SSL_set_connect_state(t.ssl)
    else:
        lib.SSL_set_accept_state(t.ssl)
    t.shaking = t.may_recv = t.may_send = 1
    t.counters = &p.tls_counters
    t.counters.open += 1
    c.tls = t
    return 1


cdef void tls_close(Conn *c) noexcept nogil:
    """Announce the end if that is due, and free everything. The descriptor stays."""
    cdef Tls *t = <Tls *>c.tls
    if t.shaking == 2:
        t.counters.failed[c.is_upstream][<int>TLS_FAULT_ABANDONED] += 1
    elif not c.broken and not c.shut and not c.saw_fin:
        tls_send_close_notify(c)
    lib.SSL_free(t.ssl)
    t.counters.open -= 1
    free(t)
    c.tls = NULL


cdef bint tls_send_close_notify(Conn *c) noexcept nogil:
    """Send close_notify. 1: it is out, or there is none to be sent; 0: the socket is full."""
    cdef Tls *t = <Tls *>c.tls
    cdef int n
    if t.sent_close_notify or t.forbids_close_notify or t.has_failed or t.shaking:
        return 1
    lib.ERR_clear_error()
    n = lib.SSL_shutdown(t.ssl)
    if n < 0 and lib.SSL_get_error(t.ssl, n) == SSL_ERROR_WANT_WRITE:
        c.may_write = 0
        return 0
    if n < 0:
        lib.ERR_clear_error()
    t.sent_close_notify = 1
    return 1


cdef void tls_note(Conn *c, uint32_t events) noexcept nogil:
    """Remember readiness of the socket from a report; conn_on_events has done so for the conn."""
    cdef Tls *t = <Tls *>c.tls
    if events & ~<uint32_t>EPOLLOUT:
        t.may_recv = 1
        if t.writes_on_in:
            t.writes_on_in = 0
            c.may_write = 1
    if events & EPOLLOUT:
        t.may_send = 1
        if t.reads_on_out:
            t.reads_on_out = 0
            c.may_read = 1


# ---------------------------------------------------------------- failures


cdef int fault_of(const Tls *t, int reason, int what) noexcept nogil:
    if reason == R_HTTP_REQUEST or reason == R_HTTPS_PROXY_REQUEST:
        return TLS_FAULT_PLAIN
    if reason == R_CERTIFICATE_VERIFY_FAILED or reason == R_NO_CERTIFICATE:
        return TLS_FAULT_CERTIFICATE
    if reason >= R_ALERTS:
        return TLS_FAULT_ALERT
    if t.at_eof or reason == R_UNEXPECTED_EOF or what == SSL_ERROR_SYSCALL:
        return TLS_FAULT_CLOSED
    return TLS_FAULT_PROTOCOL


cdef void fail(Conn *c, int what) noexcept nogil:
    """End a conn that cannot go on. A refusal of our certificate counts as a failed handshake
    although with TLS 1.3 it comes after it."""
    cdef Tls *t = <Tls *>c.tls
    cdef unsigned long error = lib.ERR_peek_error()
    cdef int fault = fault_of(t, <int>(error & ERR_REASON_MASK), what)
    if t.shaking or fault == TLS_FAULT_ALERT:
        t.fault = <unsigned char>fault
        t.counters.failed[c.is_upstream][fault] += 1
        if c.endpoint != NULL:
            c.endpoint.tls_note.fault = t.fault
            c.endpoint.tls_note.error = error
            c.endpoint.tls_note.verify = lib.SSL_get_verify_result(t.ssl)
    t.shaking = 0
    t.is_over = t.has_failed = 1
    c.may_read = 0
    c.broken = 1
    if c.error == 0:
        c.error = ECONNRESET if fault == TLS_FAULT_CLOSED else EPROTO
    lib.ERR_clear_error()


cdef bint has_to_wait(Conn *c, int what, bint is_write) noexcept nogil:
    """True if the call goes on once the socket is ready. Either direction may wait for either: a
    handshake's flight that does not fit, a key update."""
    cdef Tls *t = <Tls *>c.tls
    if what != SSL_ERROR_WANT_READ and what != SSL_ERROR_WANT_WRITE:
        return 0
    if is_write:
        c.may_write = 0
        t.writes_on_in = what == SSL_ERROR_WANT_READ
    else:
        c.may_read = 0
        t.reads_on_out = what == SSL_ERROR_WANT_WRITE
    return 1


# ---------------------------------------------------------------- verbs


cdef TlsStep tls_handshake(Conn *c) noexcept nogil:
    cdef Tls *t = <Tls *>c.tls
    cdef int n
    if not t.shaking:
        return TLS_FAILED if t.has_failed else TLS_DONE
    t.shaking = 2
    lib.ERR_clear_error()
    n = lib.SSL_do_handshake(t.ssl)
    if n == 1:
        t.shaking = 0
        t.counters.done[c.is_upstream] += 1
        c.may_read = 1
        return TLS_DONE
    if has_to_wait(c, lib.SSL_get_error(t.ssl, n), 0):
        return TLS_MORE
    fail(c, lib.SSL_get_error(t.ssl, n))
    return TLS_FAILED


cdef ssize_t end_read(Conn *c, int what, size_t got) noexcept nogil:
    """Result of conn_recv where SSL_read gave nothing. An end behind data is reported next time."""
    cdef Tls *t = <Tls *>c.tls
    if has_to_wait(c, what, 0):
        return <ssize_t>got if got else TLS_EMPTY
    if what == SSL_ERROR_ZERO_RETURN or (t.at_eof and not c.is_upstream):
        t.is_over = 1
        c.saw_fin = 1
        lib.ERR_clear_error()
    else:
        fail(c, what)
    c.may_read = got != 0
    if got:
        return <ssize_t>got
    return TLS_BROKEN if t.has_failed else 0


cdef ssize_t tls_recv(Conn *c, char *buf, size_t cap) noexcept nogil:
    """Read as conn_recv does; fills `buf` from as many records as there are."""
    cdef Tls *t = <Tls *>c.tls
    cdef size_t got = 0
    cdef int n
    if t.is_over:
        c.may_read = 0
        return TLS_BROKEN if t.has_failed else 0
    if t.shaking:
        n = tls_handshake(c)
        if n != TLS_DONE:
            return TLS_EMPTY if n == TLS_MORE else TLS_BROKEN
    lib.ERR_clear_error()
    while got < cap:
        n = lib.SSL_read(t.ssl, buf + got, <int>(cap - got))
        if n <= 0:
            return end_read(c, lib.SSL_get_error(t.ssl, n), got)
        got += <size_t>n
    return <ssize_t>got


cdef ssize_t tls_send(Conn *c, const char *at, size_t n) noexcept nogil:
    """Send once. Bytes taken (fewer: the socket is full), or -1: broken."""
    cdef Tls *t = <Tls *>c.tls
    cdef size_t sent = 0
    cdef int some, what
    if t.has_failed or t.sent_close_notify:
        c.broken = 1
        return -1
    lib.ERR_clear_error()
    while sent < n:
        some = <int>(n - sent if n - sent < WRITE_MAX else WRITE_MAX)
        some = lib.SSL_write(t.ssl, at + sent, some)
        if some <= 0:
            what = lib.SSL_get_error(t.ssl, some)
            if has_to_wait(c, what, 1):
                return <ssize_t>sent
            fail(c, what)
            return -1
        sent += <size_t>some
    return <ssize_t>sent


cdef bint tls_pump(Conn *c) noexcept nogil:
    """Take in records of the peer's TLS itself (session tickets, key updates): afterwards may_read
    means bytes, an end, or a failure. 1: bytes."""
    cdef Tls *t = <Tls *>c.tls
    cdef char byte
    cdef int n
    if t.is_over or t.shaking:
        return 0
    lib.ERR_clear_error()
    n = lib.SSL_peek(t.ssl, &byte, 1)
    if n > 0 or end_read(c, lib.SSL_get_error(t.ssl, n), 0) != TLS_EMPTY:
        c.may_read = 1
    return n > 0
