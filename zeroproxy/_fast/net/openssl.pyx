"""OpenSSL 3, opened when TLS is configured: its functions as a table of pointers.

Note. Opened at run time and never closed: a proxy without TLS does not need it, and no header of it
     is needed to compile. The names are in the order of types.tls.LibSsl.
"""

from zeroproxy._fast.types.invariant cimport invariant
from zeroproxy._fast.types.tls cimport LibSsl


cdef extern from "<dlfcn.h>" nogil:
    enum:
        RTLD_NOW
        RTLD_LOCAL
    void *dlopen(const char *name, int flags)
    void *dlsym(void *library, const char *name)


cdef enum:
    N_NAMES = 68

cdef const char* NAMES[N_NAMES]
NAMES[:] = [
    b"TLS_server_method", b"TLS_client_method", b"SSL_CTX_new", b"SSL_CTX_free",
    b"SSL_CTX_up_ref", b"SSL_CTX_ctrl", b"SSL_CTX_set_options", b"SSL_CTX_set_cipher_list",
    b"SSL_CTX_use_certificate_chain_file", b"SSL_CTX_use_PrivateKey_file",
    b"SSL_CTX_check_private_key", b"SSL_CTX_load_verify_file",
    b"SSL_CTX_set_default_verify_paths", b"SSL_CTX_set_verify", b"SSL_CTX_set_alpn_select_cb",
    b"SSL_CTX_set_alpn_protos", b"SSL_load_client_CA_file", b"SSL_CTX_set_client_CA_list",
    b"SSL_CTX_set_session_id_context", b"SSL_CTX_set_default_passwd_cb",
    b"SSL_CTX_get0_certificate", b"SSL_new", b"SSL_free", b"SSL_set_bio",
    b"SSL_set_accept_state", b"SSL_set_connect_state", b"SSL_do_handshake", b"SSL_read",
    b"SSL_peek", b"SSL_write", b"SSL_shutdown", b"SSL_get_error", b"SSL_get_verify_result",
    b"SSL_ctrl", b"SSL_set1_host", b"SSL_get0_param", b"BIO_meth_new", b"BIO_meth_set_read",
    b"BIO_meth_set_write", b"BIO_meth_set_ctrl", b"BIO_new", b"BIO_set_data", b"BIO_get_data",
    b"BIO_set_init", b"BIO_set_flags", b"BIO_clear_flags", b"ERR_clear_error",
    b"ERR_peek_error", b"ERR_reason_error_string", b"X509_verify_cert_error_string",
    b"X509_VERIFY_PARAM_set1_ip_asc", b"X509_get0_notAfter", b"ASN1_TIME_to_tm",
    b"SSL_get1_peer_certificate", b"X509_free", b"X509_get_subject_name",
    b"X509_NAME_get_index_by_NID", b"X509_NAME_get_entry", b"X509_NAME_ENTRY_get_data",
    b"ASN1_STRING_to_UTF8", b"ASN1_STRING_get0_data", b"ASN1_STRING_length", b"CRYPTO_free",
    b"X509_get_ext_d2i", b"OPENSSL_sk_num", b"OPENSSL_sk_value", b"GENERAL_NAME_get0_value",
    b"GENERAL_NAMES_free",
]

# The process's one copy of the library, as the library itself: written once, by libssl_open.
cdef LibSsl lib
cdef bint is_open = 0


cdef const LibSsl *libssl() noexcept nogil:
    """Functions of OpenSSL; valid after libssl_open has returned 1."""
    return &lib


cdef bint libssl_open() noexcept nogil:
    """Load OpenSSL once per process. 0: it is missing, or lacks something of OpenSSL 3."""
    global is_open
    cdef void **table = <void **>&lib
    cdef void *library
    cdef int k
    invariant(sizeof(LibSsl) == N_NAMES * sizeof(void *))
    if is_open:
        return 1
    library = dlopen(b"libssl.so.3", RTLD_NOW | RTLD_LOCAL)
    if library == NULL:
        return 0
    for k in range(<int>N_NAMES):
        table[k] = dlsym(library, NAMES[k])
        if table[k] == NULL:
            return 0
    is_open = 1
    return 1
