"""Names in the certificate that a peer has shown.

Law 1. Only a certificate that OpenSSL has verified has names.
Law 2. A name with a NUL, a control or, in a SAN, anything but visible ASCII is none. Of several CNs
       none is: which of them was meant is not known. Names of DNS are in lower case.
Tests: tests/relay/test_certificate_keys.py.
"""

from libc.stddef cimport size_t
from libc.string cimport memcpy

from zeroproxy._fast.net.openssl cimport libssl
from zeroproxy._fast.net.peer_certificate cimport NAME_MOST
from zeroproxy._fast.types.key_and_quota cimport IDENTITY_CN, IDENTITY_SAN_DNS
from zeroproxy._fast.types.plane cimport Conn
from zeroproxy._fast.types.tls cimport LibSsl, Tls

cdef enum:                  # numbers of OpenSSL 3's headers, fixed by its ABI
    VERIFIED = 0
    NID_COMMON_NAME = 13
    NID_SUBJECT_ALT_NAME = 85
    KIND_DNS = 2
    KIND_URI = 6


cdef ssize_t keep_name(const unsigned char *at, int n, bint is_ascii, char *out) noexcept nogil:
    cdef int i
    if n <= 0 or n > NAME_MOST:
        return 0
    for i in range(n):
        if at[i] < 0x20 or at[i] == 0x7F or (is_ascii and not 0x21 <= at[i] <= 0x7E):
            return 0
    memcpy(out, at, <size_t>n)
    return n


cdef ssize_t common_name(const LibSsl *lib, const void *cert, char *out) noexcept nogil:
    cdef const void *subject = lib.X509_get_subject_name(cert)
    cdef int at = lib.X509_NAME_get_index_by_NID(subject, NID_COMMON_NAME, -1)
    cdef unsigned char *text = NULL
    cdef ssize_t n
    if at < 0 or lib.X509_NAME_get_index_by_NID(subject, NID_COMMON_NAME, at) >= 0:
        return -1
    n = lib.ASN1_STRING_to_UTF8(
        &text, lib.X509_NAME_ENTRY_get_data(lib.X509_NAME_get_entry(subject, at))
    )
    if text == NULL:
        return 0
    n = keep_name(text, <int>n, 0, out)
    lib.CRYPTO_free(text, b"", 0)
    return n


cdef ssize_t alt_name(
    const LibSsl *lib, const void *cert, int kind, int k, char *out
) noexcept nogil:
    cdef void *names = lib.X509_get_ext_d2i(cert, NID_SUBJECT_ALT_NAME, NULL, NULL)
    cdef ssize_t n = -1
    cdef void *value
    cdef int i, found
    if names == NULL:
        return -1
    for i in range(lib.OPENSSL_sk_num(names)):
        value = lib.GENERAL_NAME_get0_value(lib.OPENSSL_sk_value(names, i), &found)
        if found != kind:
            continue
        if k == 0:
            n = keep_name(
                lib.ASN1_STRING_get0_data(value), lib.ASN1_STRING_length(value), 1, out
            )
            break
        k -= 1
    lib.GENERAL_NAMES_free(names)
    return n


cdef ssize_t peer_name(const Conn *c, int identity, int k, char *out) noexcept nogil:
    cdef const LibSsl *lib = libssl()
    cdef void *ssl = (<const Tls *>c.tls).ssl
    cdef void *cert
    cdef ssize_t n, i
    if lib.SSL_get_verify_result(ssl) != VERIFIED:
        return -1
    cert = lib.SSL_get1_peer_certificate(ssl)
    if cert == NULL:
        return -1
    if identity == IDENTITY_CN:
        n = common_name(lib, cert, out) if k == 0 else -1
    else:
        n = alt_name(lib, cert, KIND_DNS if identity == IDENTITY_SAN_DNS else KIND_URI, k, out)
    lib.X509_free(cert)
    lib.ERR_clear_error()
    if identity == IDENTITY_SAN_DNS:
        for i in range(n):
            if c'A' <= out[i] <= c'Z':
                out[i] |= 0x20
    return n
