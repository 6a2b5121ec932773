"""Answers of our own: errors before a response head, and the last words of a cut response.

Law 1. Errors are JSON in the shape of the path's dialect, OpenAI's {"error": {"message", "type",
       "code"}} where there is none; with X-Request-Id and Date, and Retry-After for 429 and 503.
Law 2. The texts are ours, fixed at compile time. Nothing a caller or a server sent is echoed,
       except the request id, which was checked to be visible ASCII without quotes.
Law 3. A cut response ends with an error event in its own dialect only if the last byte that went
       out ended an event; inside an event nothing is added. In neither case is it ended cleanly.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t
from libc.stdio cimport snprintf
from libc.string cimport memcmp, strlen

from zeroproxy._fast.answer cimport (
    DIALECT_ANTHROPIC,
    DIALECT_OLLAMA,
    DIALECT_OPENAI,
    DIALECT_RESPONSES,
    DIALECT_TGI,
    DIALECT_WORKER,
)
from zeroproxy._fast.conn cimport conn_send
from zeroproxy._fast.date cimport date_now
from zeroproxy._fast.http1 cimport fault_status, fault_text
from zeroproxy._fast.keys cimport key_wait
from zeroproxy._fast.meter cimport KIND_LINES
from zeroproxy._fast.metering cimport ends_with
from zeroproxy._fast.outcome cimport outcome_status
from zeroproxy._fast.plane cimport Plane, Relay, Upstream
from zeroproxy._fast.sock cimport MSG_DONTWAIT, MSG_NOSIGNAL, MSG_TRUNC, recv, send
from zeroproxy._fast.types cimport (
    BLAME_DOWNSTREAM,
    BLAME_OURSELVES,
    BLOCK_LARGE,
    CAUSE_CLOSED,
    CAUSE_DRAINED,
    CAUSE_MALFORMED,
    CAUSE_NO_ENDPOINT,
    CAUSE_OVERLOAD,
    CAUSE_REFUSED,
    CAUSE_RESET,
    CAUSE_TIMEOUT,
    CAUSE_TLS,
    FAULT_NONE,
    FAULT_QUOTA_REQUESTS,
    FAULT_QUOTA_TOKENS,
    LOCAL_REPLY_MODELS,
    LOCAL_REPLY_OPTIONS,
    METHOD_HEAD,
    PHASE_CONNECTING,
    PHASE_QUEUED,
    Span,
)

cdef const char *ALLOW = b"Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH\r\n"


cdef bint goes_through(const char *at, size_t len, const char *name, size_t n) noexcept nogil:
    """Whether a path ends with the segments `name`, or has them in front of others."""
    cdef size_t k = 0
    while k + n <= len:
        if at[k] == c'/' and memcmp(at + k, name, n) == 0 and (k + n == len or at[k + n] == c'/'):
            return 1
        k += 1
    return 0


cdef bint is_ollama(const char *at, size_t len) noexcept nogil:
    """/api/chat, /api/embed, ...: the last segment but one is `api`."""
    while len and at[len - 1] != c'/':
        len -= 1
    return len and ends_with(at, len - 1, b"/api", 4)


cdef int dialect_of(const char *path, size_t len) noexcept nogil:
    """The error dialect of a path (query already cut off)."""
    if ends_with(path, len, b"/completions", 12):
        return DIALECT_OPENAI
    if goes_through(path, len, b"/v1/messages", 12):
        return DIALECT_ANTHROPIC
    if goes_through(path, len, b"/v1/responses", 13):
        return DIALECT_RESPONSES
    if is_ollama(path, len):
        return DIALECT_OLLAMA
    if ends_with(path, len, b"/generate_stream", 16) or ends_with(path, len, b"/generate", 9) \
            or goes_through(path, len, b"/v2/models", 10):
        return DIALECT_TGI
    if ends_with(path, len, b"/worker_generate_stream", 23) \
            or ends_with(path, len, b"/worker_generate", 16) \
            or ends_with(path, len, b"/worker_get_embeddings", 22):
        return DIALECT_WORKER
    return DIALECT_OPENAI


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


cdef const char *upstream_text(const Relay *r) noexcept nogil:
    if r.cause == CAUSE_TIMEOUT:
        if r.ended_in == PHASE_CONNECTING:
            return b"the inference server did not accept the connection in time"
        return b"the inference server did not answer in time"
    if r.cause == CAUSE_REFUSED:
        return b"the inference server refused the connection"
    if r.cause == CAUSE_TLS:
        return b"no TLS with the inference server: a certificate or the protocol is refused"
    if r.cause == CAUSE_RESET:
        return b"the inference server reset the connection"
    if r.cause == CAUSE_CLOSED:
        return b"the inference server closed the connection before the response was complete"
    if r.cause == CAUSE_MALFORMED:
        return b"the inference server sent an invalid HTTP response"
    return b"the inference server failed"


cdef const char *absent_text(const Upstream *u) noexcept nogil:
    """Why no endpoint is in rotation. Breakers alone never are the reason (breaker.pyx, law 5)."""
    cdef uint32_t i
    if u == NULL or u.n_endpoints == 0:
        return b"no inference server is available: its name cannot be resolved"
    for i in range(u.n_endpoints):
        if not u.endpoints[i].draining:
            return b"no inference server is available: it fails its health check"
    return b"no inference server is available: it is being drained"


cdef const char *answer_text(const Relay *r) noexcept nogil:
    """The sentence a caller reads. Chosen by what happened, never built from what was sent."""
    if r.cause == CAUSE_NO_ENDPOINT:
        return absent_text(r.upstream)
    if r.cause == CAUSE_OVERLOAD:
        if r.ended_in == PHASE_QUEUED or (r.ended_in == PHASE_CONNECTING and not r.tried):
            return b"too many requests are waiting; try again later"
        return b"the proxy has reached its connection limit; try again later"
    if r.cause == CAUSE_DRAINED:
        return b"the proxy is shutting down"
    if r.blame == BLAME_OURSELVES:
        return b"the proxy is out of memory or descriptors; try again later"
    if r.fault != FAULT_NONE and r.blame == BLAME_DOWNSTREAM:
        return fault_text(r.fault)
    if r.blame == BLAME_DOWNSTREAM:
        return b"the request was not received in time"
    return upstream_text(r)


cdef const char *anthropic_type(int status) noexcept nogil:
    if status == 401:
        return b"authentication_error"
    if status == 403:
        return b"permission_error"
    if status == 404:
        return b"not_found_error"
    if status == 413:
        return b"request_too_large"
    if status == 429:
        return b"rate_limit_error"
    if status == 503:
        return b"overloaded_error"
    if status == 504:
        return b"timeout_error"
    return b"invalid_request_error" if status < 500 else b"api_error"


cdef const char *tgi_type(int status) noexcept nogil:
    if status == 503 or status == 429:
        return b"overloaded"
    return b"validation" if status < 500 else b"generation"


cdef int worker_code(int status) noexcept nogil:
    """FastChat's numbers (its constants.ErrorCode)."""
    if status == 401:
        return 40101
    if status == 403:
        return 40103
    if status == 404:
        return 40301
    if status == 429:
        return 42901
    if status == 503:
        return 50005
    if status == 504:
        return 50006
    return 40001 if status < 500 else 50001


cdef const char *answer_type(const Relay *r, int status) noexcept nogil:
    """OpenAI's words for kinds of errors."""
    if status == 429:
        return b"requests" if r.fault == FAULT_QUOTA_REQUESTS else b"tokens"
    if status < 500:
        return b"invalid_request_error"
    if status == 503:
        return b"overloaded_error"
    return b"api_error"


cdef const char *answer_code(int status) noexcept nogil:
    """OpenAI's `code` as JSON where it is a word; empty: the status is said."""
    if status == 401:
        return b'"invalid_api_key"'
    if status == 403:
        return b'"model_not_allowed"'
    if status == 429:
        return b'"rate_limit_exceeded"'
    return b""


cdef int write_openai_error(const Relay *r, int status, char *out, size_t cap) noexcept nogil:
    if answer_code(status)[0]:
        return snprintf(
            out, cap, b'{"error":{"message":"%s","type":"%s","param":null,"code":%s}}',
            answer_text(r), answer_type(r, status), answer_code(status),
        )
    return snprintf(
        out, cap, b'{"error":{"message":"%s","type":"%s","param":null,"code":%d}}',
        answer_text(r), answer_type(r, status), status,
    )


cdef int write_error_json(const Relay *r, int status, char *out, size_t cap) noexcept nogil:
    if r.dialect == DIALECT_ANTHROPIC:
        return snprintf(
            out, cap, b'{"type":"error","error":{"type":"%s","message":"%s"}}',
            anthropic_type(status), answer_text(r),
        )
    if r.dialect == DIALECT_OLLAMA:
        return snprintf(out, cap, b'{"error":"%s"}', answer_text(r))
    if r.dialect == DIALECT_TGI:
        return snprintf(
            out, cap, b'{"error":"%s","error_type":"%s"}', answer_text(r), tgi_type(status)
        )
    if r.dialect == DIALECT_WORKER:
        return snprintf(
            out, cap, b'{"text":"%s","error_code":%d}', answer_text(r), worker_code(status)
        )
    return write_openai_error(r, status, out, cap)


cdef int retry_after(const Relay *r) noexcept nogil:
    """Seconds until the quota lets somebody through; elsewhere nobody knows better than 1."""
    if r.fault == FAULT_QUOTA_REQUESTS or r.fault == FAULT_QUOTA_TOKENS:
        return key_wait(r.key, r.fault - FAULT_QUOTA_REQUESTS)
    return 1


cdef int write_error_json(const Relay *r, int status, char *out, size_t cap) noexcept nogil:
    if r.dialect == DIALECT_ANTHROPIC:
        return snprintf(
            out, cap, b'{"type":"error","error":{"type":"%s","message":"%s"}}',
            anthropic_type(status), answer_text(r),
        )
    if r.dialect == DIALECT_OLLAMA:
        return snprintf(out, cap, b'{"error":"%s"}', answer_text(r))
    if r.dialect == DIALECT_TGI:
        return snprintf(
            out, cap, b'{"error":"%s","error_type":"%s"}', answer_text(r), tgi_type(status)
        )
    if r.dialect == DIALECT_WORKER:
        return snprintf(
            out, cap, b'{"text":"%s","error_code":%d}', answer_text(r), worker_code(status)
        )
    return write_openai_error(r, status, out, cap)


cdef int retry_after(const Relay *r) noexcept nogil:
    """Seconds until the quota lets somebody through; elsewhere nobody knows better than 1."""
    if r.fault == FAULT_QUOTA_REQUESTS or r.fault == FAULT_QUOTA_TOKENS:
        return key_wait(r.key, r.fault - FAULT_QUOTA_REQUESTS)
    return 1


cdef bint send_ok(Plane *p, Relay *r, const char *line, size_t size) noexcept nogil:
    """The head of a 200 of our own, with one line more and a body of `size` bytes to follow."""
    cdef Span date = date_now(p)
    cdef int n = snprintf(
        p.compose, BLOCK_LARGE,
        b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\nX-Request-Id: %.*s\r\n"
        b"Date: %.*s\r\n%s\r\n",
        line, <int>size, <int>r.id_len, r.request_id, <int>date.len, date.at,
        <const char *>b"Connection: close\r\n" if r.asks_close else <const char *>b"",
    )
    r.status = 200
    r.head_sent = 1
    return conn_send(p, &r.down, p.compose, <size_t>n)


cdef bint send_models(Plane *p, Relay *r) noexcept nogil:
    """The list of models, which several upstreams make up."""
    r.bytes_out = p.models_len
    return send_ok(p, r, b"Content-Type: application/json\r\n", p.models_len) \
        and conn_send(p, &r.down, p.models, p.models_len)


cdef const char *extra_line(int status) noexcept nogil:
    if status == 401:
        return b"WWW-Authenticate: Bearer\r\n"
    if status == 405:
        return ALLOW
    return b""


cdef bint send_answer(Plane *p, Relay *r) noexcept nogil:
    """Send the error the relay's outcome calls for. 0: the downstream conn is broken."""
    cdef char[512] body
    cdef char[40] later
    cdef Span date = date_now(p)
    cdef int n, status
    if r.local_reply == LOCAL_REPLY_MODELS:
        return send_models(p, r)
    if r.local_reply == LOCAL_REPLY_OPTIONS:
        return send_ok(p, r, ALLOW, 0)
    status = fault_status(r.fault) if r.fault != FAULT_NONE and r.blame == BLAME_DOWNSTREAM \
        else outcome_status(r.blame, r.cause)
    cdef int size = write_error_json(r, status, body, sizeof(body))
    r.status = <unsigned short>status
    later[0] = 0
    if status == 503 or status == 429:
        snprintf(later, sizeof(later), b"Retry-After: %d\r\n", retry_after(r))
    n = snprintf(
        p.compose, BLOCK_LARGE,
        b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
        b"%s%sX-Request-Id: %.*s\r\nDate: %.*s\r\n%s\r\n%.*s",
        status, status_phrase(status), size,
        later, extra_line(status),
        <int>r.id_len, r.request_id, <int>date.len, date.at,
        <const char *>b"Connection: close\r\n" if r.asks_close else <const char *>b"",
        <int>(0 if r.method == METHOD_HEAD else size), body,
    )
    r.head_sent = 1
    return conn_send(p, &r.down, p.compose, <size_t>n)


cdef size_t write_cut_event(Relay *r, char *out, size_t cap) noexcept nogil:
    """The last event of a cut SSE response, or the last line of a cut series of JSON texts, in its
    dialect; returns its length."""
    cdef char[512] body
    cdef int status = outcome_status(r.blame, r.cause)
    cdef bint is_line = r.read.meter.kind == KIND_LINES
    cdef const char *name = b""
    cdef int n
    if r.dialect == DIALECT_RESPONSES and not is_line:
        # Its events are numbered from 0.
        name = b"event: error\n"
        snprintf(
            body, sizeof(body),
            b'{"type":"error","sequence_number":%u,"code":"server_error","message":"%s",'
            b'"param":null}',
            r.read.meter.n_events, answer_text(r),
        )
    elif not is_line and r.dialect == DIALECT_TGI \
            and ends_with(r.path, r.path_len, b"/generate", 9):
        # TGI streams on /generate_stream only: this is SGLang.
        write_openai_error(r, status, body, sizeof(body))
    else:
        if r.dialect == DIALECT_ANTHROPIC:
            name = b"event: error\n"
        write_error_json(r, status, body, sizeof(body))
    if not is_line:
        return <size_t>snprintf(out, cap, b"%sdata: %s\n\n", name, body)
    n = snprintf(out, cap, b"%s\n", body)
    if r.dialect == DIALECT_WORKER:
        out[n - 1] = 0
    return <size_t>n


cdef void refuse(
    Plane *p, int fd, const char *line, const char *extra, const char *body,
) noexcept nogil:
    """One answer to who is never read; the conn ends with it."""
    cdef char[512] text
    cdef Span date = date_now(p)
    cdef int n = snprintf(
        text, sizeof(text),
        b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
        b"Date: %.*s\r\n%sConnection: close\r\n\r\n%s",
        line, <int>strlen(body), <int>date.len, date.at, extra, body,
    )
    send(fd, text, <size_t>n, MSG_NOSIGNAL | MSG_DONTWAIT)


cdef void refuse_politely(Plane *p, int fd) noexcept nogil:
    """One 503 for a conn above the cap; it is never read, never parsed, never kept."""
    refuse(
        p, fd, b"503 Service Unavailable", b"Retry-After: 1\r\n",
        b'{"error":{"message":"the proxy has reached its connection limit; try again later",'
        b'"type":"overloaded_error","param":null,"code":503}}',
    )


cdef void refuse_plain(Plane *p, int fd) noexcept nogil:
    """One 400 for who speaks plain HTTP on a port that speaks TLS, in the clear as he does."""
    refuse(
        p, fd, b"400 Bad Request", b"",
        b'{"error":{"message":"this port speaks TLS: use https://","type":"invalid_request_error",'
        b'"param":null,"code":400}}',
    )
    # Closed over unread bytes it would be lost to a RST.
    recv(fd, NULL, 1 << 20, MSG_TRUNC | MSG_DONTWAIT)
