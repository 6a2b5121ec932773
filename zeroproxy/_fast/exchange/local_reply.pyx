"""Local replies: errors before a response head, the list of models, and refusals of conns.

Law. An error has X-Request-Id and Date, and tells when to come again (steer_retries.pyx). No bytes
     of a caller or a server are echoed, except the request id: it was checked to be visible ASCII
     without quotes.
Tests: tests/relay/test_answer_heads.py, tests/relay/test_keys.py, tests/relay/test_cors.py.
"""

from libc.stddef cimport size_t
from libc.stdio cimport snprintf
from libc.string cimport strlen

from zeroproxy._fast.exchange.date_field cimport date_now
from zeroproxy._fast.exchange.error_body cimport write_error_json
from zeroproxy._fast.exchange.limit_fields cimport LIMIT_FIELDS_MAX, write_limit_fields
from zeroproxy._fast.exchange.outcome_names cimport outcome_status
from zeroproxy._fast.exchange.steer_retries cimport write_retry_lines, write_soon_lines
from zeroproxy._fast.http1.head_parser cimport fault_status
from zeroproxy._fast.net.conn cimport conn_send
from zeroproxy._fast.net.syscalls cimport MSG_DONTWAIT, MSG_NOSIGNAL, MSG_TRUNC, recv, send
from zeroproxy._fast.types.exchange_enums cimport (
    BLAME_DOWNSTREAM,
    CAUSE_TOKEN,
    LOCAL_REPLY_MODELS,
    LOCAL_REPLY_OPTIONS,
    LOCAL_REPLY_PREFLIGHT,
)
from zeroproxy._fast.types.http cimport (
    FAULT_NONE,
    FAULT_PATH_METHOD,
    METHOD_COUNT,
    METHOD_GET,
    METHOD_HEAD,
    METHOD_OPTIONS,
    Span,
)
from zeroproxy._fast.types.memory cimport BLOCK_LARGE
from zeroproxy._fast.types.plane cimport Plane, Relay

cdef enum:
    ALLOW_MOST = 64         # of ALLOW, the longest such line

cdef const char *ALLOW = b"Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH\r\n"
# In the order of types.http.Method.
cdef const char* METHOD_NAMES[METHOD_COUNT]
METHOD_NAMES[:] = [b"", b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"]


cdef const char *status_phrase(int status) noexcept nogil:
    if status == 400:
        return b"Bad Request"
    if status == 401:
        return b"Unauthorized"
    if status == 403:
        return b"Forbidden"
    if status == 404:
        return b"Not Found"
    if status == 405:
        return b"Method Not Allowed"
    if status == 408:
        return b"Request Timeout"
    if status == 413:
        return b"Content Too Large"
    if status == 414:
        return b"URI Too Long"
    if status == 415:
        return b"Unsupported Media Type"
    if status == 417:
        return b"Expectation Failed"
    if status == 429:
        return b"Too Many Requests"
    if status == 431:
        return b"Request Header Fields Too Large"
    if status == 501:
        return b"Not Implemented"
    if status == 502:
        return b"Bad Gateway"
    if status == 503:
        return b"Service Unavailable"
    if status == 504:
        return b"Gateway Timeout"
    if status == 505:
        return b"HTTP Version Not Supported"
    return b"Error"


cdef Span cors_lines(const Relay *r) noexcept nogil:
    """Lines of server.cors; len 0: it is off."""
    cdef Span none
    none.at = b""
    none.len = 0
    return r.x.cors[0] if r.x.cors != NULL else none


cdef bint send_preflight(Plane *p, Relay *r) noexcept nogil:
    """Answer a CORS preflight. An origin that is not listed gets no permission."""
    cdef Span date = date_now(p)
    cdef bint is_allowed = p.cors != NULL and (r.x.cors != &p.cors.others or p.cors.allows_any)
    cdef int n = snprintf(
        p.compose, BLOCK_LARGE,
        b"HTTP/1.1 204 No Content\r\n%.*s%.*sX-Request-Id: %.*s\r\nDate: %.*s\r\n%s\r\n",
        <int>r.x.cors.len, r.x.cors.at,
        <int>(p.cors.preflight.len if is_allowed else 0),
        <const char *>b"" if p.cors == NULL else p.cors.preflight.at,
        <int>r.x.id_len, r.x.request_id, <int>date.len, date.at,
        <const char *>b"Connection: close\r\n" if r.x.asks_close else <const char *>b"",
    )
    r.x.status = 204
    r.x.head_sent = 1
    return conn_send(p, &r.down, p.compose, <size_t>n)


cdef bint send_ok(Plane *p, Relay *r, const char *line, size_t size) noexcept nogil:
    """Send the head of a 200 with `line` in it; a body of `size` bytes follows."""
    cdef Span date = date_now(p)
    cdef Span cors = cors_lines(r)
    cdef int n = snprintf(
        p.compose, BLOCK_LARGE,
        b"HTTP/1.1 200 OK\r\n%s%.*sContent-Length: %d\r\nX-Request-Id: %.*s\r\n"
        b"Date: %.*s\r\n%s\r\n",
        line, <int>cors.len, cors.at, <int>size, <int>r.x.id_len, r.x.request_id,
        <int>date.len, date.at,
        <const char *>b"Connection: close\r\n" if r.x.asks_close else <const char *>b"",
    )
    r.x.status = 200
    r.x.head_sent = 1
    return conn_send(p, &r.down, p.compose, <size_t>n)


cdef bint send_models(Plane *p, Relay *r) noexcept nogil:
    """Send the list of the models of all upstreams."""
    r.x.bytes_out = p.models_len
    return send_ok(p, r, b"Content-Type: application/json\r\n", p.models_len) \
        and conn_send(p, &r.down, p.models, p.models_len)


cdef bint passes(const Relay *r, int method) noexcept nogil:
    """True if the surface lets this method pass at the path."""
    return method == METHOD_OPTIONS or r.x.surface.allows >> (
        <int>METHOD_GET if method == METHOD_HEAD else method
    ) & 1


cdef const char *allow_line(const Relay *r, char *out, size_t cap) noexcept nogil:
    """Allow, with the methods that pass at the path: static, or in `out`."""
    cdef size_t n = 0
    cdef int method
    if r.x.fault != FAULT_PATH_METHOD:
        return ALLOW
    for method in range(<int>METHOD_GET, <int>METHOD_COUNT):
        if passes(r, method):
            n += <size_t>snprintf(
                out + n, cap - n, b"%s%s", b", " if n else b"Allow: ", METHOD_NAMES[method]
            )
    snprintf(out + n, cap - n, b"\r\n")
    return out


cdef const char *extra_line(const Relay *r, int status, char *out, size_t cap) noexcept nogil:
    """A further line of the head: static, or in `out`."""
    if status == 401 and r.x.cause == CAUSE_TOKEN:
        return b'WWW-Authenticate: Bearer error="invalid_token"\r\n'
    if status == 401:
        return b"WWW-Authenticate: Bearer\r\n"
    if status == 405:
        return allow_line(r, out, cap)
    if status == 415:
        return b"Accept-Encoding: identity\r\n"
    return b""


cdef bint send_local_reply(Plane *p, Relay *r) noexcept nogil:
    cdef char[512] body
    cdef char[96] later
    cdef char[LIMIT_FIELDS_MAX] limits
    cdef char[ALLOW_MOST] extra
    cdef Span date = date_now(p)
    cdef Span cors = cors_lines(r)
    cdef int n, status
    if r.x.local_reply == LOCAL_REPLY_MODELS:
        return send_models(p, r)
    if r.x.local_reply == LOCAL_REPLY_PREFLIGHT:
        return send_preflight(p, r)
    if r.x.local_reply == LOCAL_REPLY_OPTIONS:
        return send_ok(p, r, ALLOW, 0)
    status = fault_status(r.x.fault) if r.x.fault != FAULT_NONE and r.x.blame == BLAME_DOWNSTREAM \
        else outcome_status(r.x.blame, r.x.cause)
    cdef int size = write_error_json(r, status, body, sizeof(body))
    r.x.status = <unsigned short>status
    write_retry_lines(p, r, status, later, sizeof(later))
    n = snprintf(
        p.compose, BLOCK_LARGE,
        b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
        b"%s%s%.*s%.*sX-Request-Id: %.*s\r\nDate: %.*s\r\n%s\r\n%.*s",
        status, status_phrase(status), size,
        later, extra_line(r, status, extra, sizeof(extra)),
        <int>write_limit_fields(p, r, NULL, limits), limits, <int>cors.len, cors.at,
        <int>r.x.id_len, r.x.request_id, <int>date.len, date.at,
        <const char *>b"Connection: close\r\n" if r.x.asks_close else <const char *>b"",
        <int>(0 if r.x.method == METHOD_HEAD else size), body,
    )
    r.x.head_sent = 1
    return conn_send(p, &r.down, p.compose, <size_t>n)


cdef void refuse(
    Plane *p, int fd, const char *line, const char *extra, const char *body,
) noexcept nogil:
    """Send one reply on a descriptor that is never read."""
    cdef char[512] text
    cdef Span date = date_now(p)
    cdef int n = snprintf(
        text, sizeof(text),
        b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
        b"Date: %.*s\r\n%sConnection: close\r\n\r\n%s",
        line, <int>strlen(body), <int>date.len, date.at, extra, body,
    )
    send(fd, text, <size_t>n, MSG_NOSIGNAL | MSG_DONTWAIT)


cdef void refuse_over_limit(Plane *p, int fd) noexcept nogil:
    cdef char[96] later
    write_soon_lines(p, later, sizeof(later))
    refuse(
        p, fd, b"503 Service Unavailable", later,
        b'{"error":{"message":"the proxy has reached its connection limit; try again later",'
        b'"type":"overloaded_error","param":null,"code":503}}',
    )


cdef void refuse_plain(Plane *p, int fd) noexcept nogil:
    refuse(
        p, fd, b"400 Bad Request", b"",
        b'{"error":{"message":"this port speaks TLS: use https://","type":"invalid_request_error",'
        b'"param":null,"code":400}}',
    )
    # Unread bytes would cause a RST, which destroys the reply.
    recv(fd, NULL, 1 << 20, MSG_TRUNC | MSG_DONTWAIT)


cdef void refuse_headless(Plane *p, int fd) noexcept nogil:
    refuse(
        p, fd, b"400 Bad Request", b"",
        b'{"error":{"message":"this port expects the PROXY protocol before a request",'
        b'"type":"invalid_request_error","param":null,"code":400}}',
    )
