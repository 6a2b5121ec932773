"""TLS contexts: files and switches, read once and shared by every conn that is opened with them.

Law 1. A fault of a file is a TlsError that names the key and the file, never the contents.
Law 2. A context is never changed: a reload makes another one, and a conn keeps its own.
Law 3. TLS 1.2 at least, HTTP/1.1 alone, no renegotiation, no compression, no early data.
Tests: tests/relay/test_tls.py, tests/unit/test_pem.py, tests/e2e/test_tls.py.
"""

from libc.string cimport memcmp, memset
from libc.time cimport tm

from zeroproxy._fast.net.openssl cimport libssl
from zeroproxy._fast.net.tls cimport tls_load
from zeroproxy._fast.types.tls cimport TLS_FAULT_CERTIFICATE, LibSsl, TlsCounters, TlsNote

from zeroproxy._fast.engine.enum_names import TLS_FAULTS
from zeroproxy.errors import TlsError


cdef extern from "<time.h>" nogil:
    long timegm(tm *when)


cdef enum:                  # numbers of OpenSSL 3's headers, fixed by its ABI
    CTRL_MODE = 33
    CTRL_SET_READ_AHEAD = 41
    CTRL_SET_SESS_CACHE_MODE = 44
    CTRL_SET_MIN_PROTO_VERSION = 123
    TLS1_2_VERSION = 0x0303
    # Partial writes, from a buffer that may move; buffers of idle conns are released.
    MODES = 0x1 | 0x2 | 0x10
    # No compression, the server's order of ciphers, no renegotiation.
    OPTIONS = 0x20000 | 0x400000 | 0x40000000
    FILETYPE_PEM = 1
    VERIFY_NONE = 0
    VERIFY_PEER = 1
    VERIFY_DEMAND = 3       # and refuse a peer without a certificate
    ALPN_OK = 0
    ALPN_FATAL = 2

# For TLS 1.2; those of 1.3 are all sound. Forward secrecy and AEAD, as Mozilla's intermediate list.
cdef const char *CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
cdef const char *HTTP_1_1 = b"\x08http/1.1"

SIDES = ("downstream", "upstream")
MISSING = (
    "TLS needs OpenSSL 3 (libssl.so.3), which is not installed: package libssl3 (Debian, Ubuntu), "
    "openssl-libs (Fedora, RHEL), libssl3 (Alpine)"
)


# ---------------------------------------------------------------- called by OpenSSL


cdef int no_password(char *at, int size, int is_write, void *arg) noexcept nogil:
    """Refuse encrypted keys: OpenSSL would ask for the password on the terminal."""
    return 0


cdef int choose_http(
    void *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *offered,
    unsigned int n, void *arg
) noexcept nogil:
    """Choose HTTP/1.1; a peer that offers protocols has to offer it."""
    cdef unsigned int at = 0
    while at < n:
        if offered[at] == 8 and at + 9 <= n and memcmp(offered + at, HTTP_1_1, 9) == 0:
            out[0] = offered + at + 1
            out_len[0] = 8
            return ALPN_OK
        at += 1 + offered[at]
    return ALPN_FATAL


# ---------------------------------------------------------------- contexts


cdef str openssl_error():
    """The text of OpenSSL's first error; clears its error queue."""
    cdef const LibSsl *lib = libssl()
    cdef const char *text = lib.ERR_reason_error_string(lib.ERR_peek_error())
    lib.ERR_clear_error()
    return "it cannot be used" if text == NULL else text.decode("ascii", "replace")


cdef int demand(bint is_good, str key, str path) except -1:
    if not is_good:
        raise TlsError(f"{key}: {path}: {openssl_error()}")
    return 0


cdef class Context:
    """An SSL_CTX for conns of one kind. Make it with `server` or `client`."""

    def __dealloc__(self):
        if self.ctx != NULL:
            libssl().SSL_CTX_free(self.ctx)

    cdef int begin(self, bint is_server) except -1:
        """Make the SSL_CTX with the options of both kinds."""
        cdef const LibSsl *lib = libssl()
        if not tls_load():
            raise TlsError(MISSING)
        self.ctx = lib.SSL_CTX_new(
            lib.TLS_server_method() if is_server else lib.TLS_client_method()
        )
        if self.ctx == NULL:
            raise MemoryError
        lib.SSL_CTX_ctrl(self.ctx, CTRL_MODE, MODES, NULL)
        lib.SSL_CTX_ctrl(self.ctx, CTRL_SET_READ_AHEAD, 1, NULL)
        lib.SSL_CTX_ctrl(self.ctx, CTRL_SET_SESS_CACHE_MODE, 0, NULL)
        lib.SSL_CTX_ctrl(self.ctx, CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION, NULL)
        lib.SSL_CTX_set_options(self.ctx, OPTIONS)
        lib.SSL_CTX_set_cipher_list(self.ctx, CIPHERS)
        lib.SSL_CTX_set_default_passwd_cb(self.ctx, no_password)
        lib.ERR_clear_error()
        return 0

    @staticmethod
    def server(*, str cert, str key, str client_ca=""):
        """For listeners. `client_ca`: file of the CAs one of which must have signed a caller's
        certificate; "": none is asked for."""
        cdef const LibSsl *lib = libssl()
        cdef Context self = Context.__new__(Context)
        cdef void *names
        self.begin(True)
        lib.SSL_CTX_set_alpn_select_cb(self.ctx, choose_http, NULL)
        lib.SSL_CTX_set_session_id_context(self.ctx, b"zeroproxy", 9)
        show_certificate(self.ctx, cert, key)
        if client_ca:
            names = lib.SSL_load_client_CA_file(client_ca.encode())
            demand(names != NULL, "client_ca", client_ca)
            lib.SSL_CTX_set_client_CA_list(self.ctx, names)
            trust(self.ctx, "client_ca", client_ca)
            lib.SSL_CTX_set_verify(self.ctx, VERIFY_DEMAND, NULL)
        return self

    @staticmethod
    def client(*, str ca="", str cert="", str key="", bint verify=True):
        """For endpoints. Without `ca` the CAs of the system are trusted."""
        cdef const LibSsl *lib = libssl()
        cdef Context self = Context.__new__(Context)
        self.begin(False)
        lib.SSL_CTX_set_alpn_protos(self.ctx, HTTP_1_1, 9)
        if cert:
            show_certificate(self.ctx, cert, key)
        if ca:
            trust(self.ctx, "ca", ca)
        elif verify:
            lib.SSL_CTX_set_default_verify_paths(self.ctx)
        lib.SSL_CTX_set_verify(self.ctx, VERIFY_PEER if verify else VERIFY_NONE, NULL)
        lib.ERR_clear_error()
        return self

    @property
    def expires(self):
        """The end of its certificate, in seconds of the wall clock; None: there is none."""
        cdef const LibSsl *lib = libssl()
        cdef void *cert = lib.SSL_CTX_get0_certificate(self.ctx)
        cdef tm when
        memset(&when, 0, sizeof(when))
        if cert == NULL or lib.ASN1_TIME_to_tm(lib.X509_get0_notAfter(cert), &when) != 1:
            return None
        return timegm(&when)


cdef int show_certificate(void *ctx, str cert, str key) except -1:
    cdef const LibSsl *lib = libssl()
    cdef bytes where = cert.encode()
    demand(lib.SSL_CTX_use_certificate_chain_file(ctx, where) == 1, "cert", cert)
    where = key.encode()
    # This compares it with the certificate, too.
    demand(lib.SSL_CTX_use_PrivateKey_file(ctx, where, FILETYPE_PEM) == 1, "key", key)
    demand(lib.SSL_CTX_check_private_key(ctx) == 1, "key", key)
    return 0


cdef int trust(void *ctx, str key, str path) except -1:
    cdef bytes where = path.encode()
    return demand(libssl().SSL_CTX_load_verify_file(ctx, where) == 1, key, path)


# ---------------------------------------------------------------- in the plane


cdef void tls_drop(void **place) noexcept nogil:
    if place[0] != NULL:
        libssl().SSL_CTX_free(place[0])
    place[0] = NULL


cdef int tls_adopt(void **place, Context context) except -1:
    if context is not None:
        libssl().SSL_CTX_up_ref(context.ctx)
        place[0] = context.ctx
    return 0


# ---------------------------------------------------------------- counters, faults


cdef dict read_tls(const TlsCounters *counters):
    return {
        "open": counters.open,
        "handshakes": {side: counters.done[k] for k, side in enumerate(SIDES)},
        "failures": {
            side: {name: counters.failed[k][f] for f, name in enumerate(TLS_FAULTS) if f}
            for k, side in enumerate(SIDES)
        },
    }


cdef str read_note(const TlsNote *note):
    cdef const char *text
    if note.fault == 0:
        return ""
    if note.fault == TLS_FAULT_CERTIFICATE and note.verify:
        text = libssl().X509_verify_cert_error_string(note.verify)
    else:
        text = libssl().ERR_reason_error_string(note.error)
    return TLS_FAULTS[note.fault] if text == NULL else text.decode("ascii", "replace")
