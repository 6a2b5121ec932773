# TLS: the used part of OpenSSL 3, and the state that a conn keeps beside its SSL object. No code;
# the laws of http.pxd hold here too.
#
# Note. OpenSSL's own types stay opaque (void *): its headers are not needed to compile, and a proxy
#       without TLS never opens the library.

from libc.stdint cimport int64_t, uint8_t, uint64_t

ctypedef int (*BioMove)(void *bio, char *at, int n) noexcept nogil
ctypedef long (*BioControl)(void *bio, int what, long number, void *at) noexcept nogil
ctypedef int (*AlpnSelect)(
    void *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *offered,
    unsigned int n, void *arg
) noexcept nogil
ctypedef int (*AskPassword)(char *at, int size, int is_write, void *arg) noexcept nogil


cdef struct LibSsl:         # one pointer each, in the order of openssl.NAMES
    void *(*TLS_server_method)() noexcept nogil
    void *(*TLS_client_method)() noexcept nogil
    void *(*SSL_CTX_new)(void *method) noexcept nogil
    void (*SSL_CTX_free)(void *ctx) noexcept nogil
    int (*SSL_CTX_up_ref)(void *ctx) noexcept nogil
    long (*SSL_CTX_ctrl)(void *ctx, int what, long number, void *at) noexcept nogil
    uint64_t (*SSL_CTX_set_options)(void *ctx, uint64_t options) noexcept nogil
    int (*SSL_CTX_set_cipher_list)(void *ctx, const char *list) noexcept nogil
    int (*SSL_CTX_use_certificate_chain_file)(void *ctx, const char *path) noexcept nogil
    int (*SSL_CTX_use_PrivateKey_file)(void *ctx, const char *path, int kind) noexcept nogil
    int (*SSL_CTX_check_private_key)(const void *ctx) noexcept nogil
    int (*SSL_CTX_load_verify_file)(void *ctx, const char *path) noexcept nogil
    int (*SSL_CTX_set_default_verify_paths)(void *ctx) noexcept nogil
    void (*SSL_CTX_set_verify)(void *ctx, int mode, void *callback) noexcept nogil
    void (*SSL_CTX_set_alpn_select_cb)(void *ctx, AlpnSelect choose, void *arg) noexcept nogil
    int (*SSL_CTX_set_alpn_protos)(void *ctx, const char *list, unsigned int n) noexcept nogil
    void *(*SSL_load_client_CA_file)(const char *path) noexcept nogil
    void (*SSL_CTX_set_client_CA_list)(void *ctx, void *names) noexcept nogil
    int (*SSL_CTX_set_session_id_context)(void *ctx, const char *id, unsigned int n) noexcept nogil
    void (*SSL_CTX_set_default_passwd_cb)(void *ctx, AskPassword ask) noexcept nogil
    void *(*SSL_CTX_get0_certificate)(const void *ctx) noexcept nogil
    void *(*SSL_new)(void *ctx) noexcept nogil
    void (*SSL_free)(void *ssl) noexcept nogil
    void (*SSL_set_bio)(void *ssl, void *read_bio, void *write_bio) noexcept nogil
    void (*SSL_set_accept_state)(void *ssl) noexcept nogil
    void (*SSL_set_connect_state)(void *ssl) noexcept nogil
    int (*SSL_do_handshake)(void *ssl) noexcept nogil
    int (*SSL_read)(void *ssl, void *at, int n) noexcept nogil
    int (*SSL_peek)(void *ssl, void *at, int n) noexcept nogil
    int (*SSL_write)(void *ssl, const void *at, int n) noexcept nogil
    int (*SSL_shutdown)(void *ssl) noexcept nogil
    int (*SSL_get_error)(const void *ssl, int result) noexcept nogil
    long (*SSL_get_verify_result)(const void *ssl) noexcept nogil
    long (*SSL_ctrl)(void *ssl, int what, long number, void *at) noexcept nogil
    int (*SSL_set1_host)(void *ssl, const char *name) noexcept nogil
    void *(*SSL_get0_param)(void *ssl) noexcept nogil
    void *(*BIO_meth_new)(int kind, const char *name) noexcept nogil
    int (*BIO_meth_set_read)(void *method, BioMove read) noexcept nogil
    int (*BIO_meth_set_write)(void *method, BioMove write) noexcept nogil
    int (*BIO_meth_set_ctrl)(void *method, BioControl control) noexcept nogil
    void *(*BIO_new)(const void *method) noexcept nogil
    void (*BIO_set_data)(void *bio, void *data) noexcept nogil
    void *(*BIO_get_data)(void *bio) noexcept nogil
    void (*BIO_set_init)(void *bio, int is_ready) noexcept nogil
    void (*BIO_set_flags)(void *bio, int flags) noexcept nogil
    void (*BIO_clear_flags)(void *bio, int flags) noexcept nogil
    void (*ERR_clear_error)() noexcept nogil
    unsigned long (*ERR_peek_error)() noexcept nogil
    const char *(*ERR_reason_error_string)(unsigned long error) noexcept nogil
    const char *(*X509_verify_cert_error_string)(long error) noexcept nogil
    int (*X509_VERIFY_PARAM_set1_ip_asc)(void *param, const char *text) noexcept nogil
    const void *(*X509_get0_notAfter)(const void *cert) noexcept nogil
    int (*ASN1_TIME_to_tm)(const void *time, void *tm) noexcept nogil
    void *(*SSL_get1_peer_certificate)(const void *ssl) noexcept nogil
    void (*X509_free)(void *cert) noexcept nogil
    void *(*X509_get_subject_name)(const void *cert) noexcept nogil
    int (*X509_NAME_get_index_by_NID)(const void *name, int nid, int after) noexcept nogil
    void *(*X509_NAME_get_entry)(const void *name, int at) noexcept nogil
    void *(*X509_NAME_ENTRY_get_data)(const void *entry) noexcept nogil
    int (*ASN1_STRING_to_UTF8)(unsigned char **out, const void *text) noexcept nogil
    const unsigned char *(*ASN1_STRING_get0_data)(const void *text) noexcept nogil
    int (*ASN1_STRING_length)(const void *text) noexcept nogil
    void (*CRYPTO_free)(void *at, const char *file, int line) noexcept nogil
    void *(*X509_get_ext_d2i)(const void *cert, int nid, int *critical, int *at) noexcept nogil
    int (*OPENSSL_sk_num)(const void *stack) noexcept nogil
    void *(*OPENSSL_sk_value)(const void *stack, int at) noexcept nogil
    void *(*GENERAL_NAME_get0_value)(const void *name, int *kind) noexcept nogil
    void (*GENERAL_NAMES_free)(void *names) noexcept nogil


cdef enum TlsFault:         # why a handshake failed
    TLS_FAULT_NONE = 0
    TLS_FAULT_PLAIN         # a request in the clear, on a port that speaks TLS
    TLS_FAULT_CERTIFICATE   # the peer's certificate is not accepted, or it has shown none
    TLS_FAULT_ALERT         # the peer has sent an alert
    TLS_FAULT_PROTOCOL      # no version, cipher or protocol in common; or no TLS at all
    TLS_FAULT_CLOSED        # the peer went away
    TLS_FAULT_ABANDONED     # ended by the proxy: too slow, or not needed any more
    TLS_FAULT_COUNT         # always last


cdef struct TlsCounters:    # by side: 0 downstream, 1 upstream
    int64_t open            # SSL objects in use
    uint64_t done[2]        # handshakes
    uint64_t failed[2][TLS_FAULT_COUNT]


cdef struct TlsNote:        # of the last handshake that failed
    uint8_t fault           # TlsFault; 0: none has failed
    long verify             # X509 verify result; 0: not about the certificate
    unsigned long error     # OpenSSL's packed error


cdef struct Tls:            # of one conn
    void *ssl               # owned
    uint8_t has_identity    # `identity` is set
    uint8_t[32] identity    # digest of the peer's name that a key had
    TlsCounters *counters   # borrowed from the plane
    uint8_t shaking         # the handshake is 1: to come, 2: under way, 0: over
    uint8_t may_recv        # the socket's own readiness: Conn.may_read is of decrypted bytes
    uint8_t may_send
    uint8_t at_eof          # recv has returned 0
    uint8_t reads_on_out    # reading waits until something can be written
    uint8_t writes_on_in    # and the other way round
    uint8_t is_over         # ended or failed: OpenSSL is not called again
    uint8_t has_failed
    uint8_t forbids_close_notify  # the response was cut: no close_notify, which would call it whole
    uint8_t sent_close_notify   # close_notify is out
    uint8_t fault           # TlsFault
