"""Errors: their texts, and their shapes in the dialect of the path.

Law 1. Errors are JSON, in OpenAI's shape {"error": {"message", "type", "code"}} where the path has
       no dialect of its own.
Law 2. The texts are fixed at compile time, but for the name of a member that is refused, which is
       the configuration's. No bytes of a caller or a server are echoed.
Tests: tests/relay/test_dialects.py, tests/relay/test_surface_members.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t
from libc.stdio cimport snprintf
from libc.string cimport memcmp

from zeroproxy._fast.exchange.error_body cimport (
    DIALECT_ANTHROPIC,
    DIALECT_OLLAMA,
    DIALECT_OPENAI,
    DIALECT_RESPONSES,
    DIALECT_TGI,
    DIALECT_WORKER,
)
from zeroproxy._fast.exchange.outcome_names cimport outcome_status
from zeroproxy._fast.exchange.path_kinds cimport ends_with
from zeroproxy._fast.http1.head_parser cimport fault_text
from zeroproxy._fast.types.exchange_enums cimport (
    BLAME_DOWNSTREAM,
    BLAME_OURSELVES,
    CAUSE_CLOSED,
    CAUSE_DRAINED,
    CAUSE_MALFORMED,
    CAUSE_NETWORK,
    CAUSE_NO_ENDPOINT,
    CAUSE_OVERLOAD,
    CAUSE_REFUSED,
    CAUSE_RESET,
    CAUSE_TIMEOUT,
    CAUSE_TLS,
    CAUSE_TOKEN,
    PHASE_CONNECTING,
    PHASE_PENDING,
    PHASE_QUEUED,
    PHASE_WAITING,
)
from zeroproxy._fast.types.hold cimport DOUBT_REFUSES
from zeroproxy._fast.types.http cimport (
    FAULT_KEY_INFLIGHT,
    FAULT_MEMBER,
    FAULT_NONE,
    FAULT_QUOTA_REQUESTS,
    FAULT_TOKEN_UNREAD,
)
from zeroproxy._fast.types.plane cimport Relay, Upstream
from zeroproxy._fast.usage.response_meter cimport KIND_LINES

cdef enum:
    MESSAGE_MOST = 128      # of a message that names a member, with its NUL


cdef bint goes_through(const char *at, size_t len, const char *name, size_t n) noexcept nogil:
    """Return 1 if a path has the segments `name`, at its end or before others."""
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


cdef const char *upstream_text(const Relay *r) noexcept nogil:
    if r.x.keepalive.has_head and r.x.ended_in == PHASE_WAITING and r.x.status:
        # The caller had a head already: late_head.pyx.
        if r.x.status >= 300:
            return b"the inference server refused the request"
        return b"the inference server sent no event stream"
    if r.x.cause == CAUSE_TIMEOUT:
        if r.x.ended_in == PHASE_CONNECTING:
            return b"the inference server did not accept the connection in time"
        return b"the inference server did not answer in time"
    if r.x.cause == CAUSE_REFUSED:
        return b"the inference server refused the connection"
    if r.x.cause == CAUSE_TLS:
        return b"no TLS with the inference server: a certificate or the protocol is refused"
    if r.x.cause == CAUSE_RESET:
        return b"the inference server reset the connection"
    if r.x.cause == CAUSE_CLOSED:
        return b"the inference server closed the connection before the response was complete"
    if r.x.cause == CAUSE_MALFORMED:
        return b"the inference server sent an invalid HTTP response"
    return b"the inference server failed"


cdef const char *absent_text(const Upstream *u) noexcept nogil:
    """The reason why no endpoint is in rotation; never breakers alone (breaker.pyx, law 5)."""
    cdef uint32_t i
    if u == NULL or u.n_endpoints == 0:
        return b"no inference server is available: its name cannot be resolved"
    for i in range(u.n_endpoints):
        if u.endpoints[i].draining:
            continue
        if u.endpoints[i].in_rotation and u.endpoints[i].doubt == DOUBT_REFUSES:
            return b"no inference server is available: it accepts no connection, or is loading"
        return b"no inference server is available: it fails its health check"
    return b"no inference server is available: it is being drained"


cdef const char *error_text(const Relay *r) noexcept nogil:
    """The message for the caller: chosen by the outcome, never built from bytes of others."""
    if r.x.cause == CAUSE_NO_ENDPOINT:
        return absent_text(r.x.upstream)
    if r.x.cause == CAUSE_TOKEN:
        return fault_text(r.x.fault)
    if r.x.cause == CAUSE_OVERLOAD:
        if r.x.ended_in == PHASE_PENDING:
            return fault_text(FAULT_TOKEN_UNREAD)
        if r.x.waiting.lacks_time:
            return b"too many requests are waiting to answer within this caller's timeout"
        if r.x.ended_in == PHASE_QUEUED or (
            r.x.ended_in == PHASE_CONNECTING and not r.x.n_attempts
        ):
            return b"too many requests are waiting; try again later"
        return b"the proxy has reached its connection limit; try again later"
    if r.x.cause == CAUSE_DRAINED:
        return b"the proxy is shutting down"
    if r.x.blame == BLAME_OURSELVES:
        return b"the proxy is out of memory or descriptors; try again later"
    if r.x.fault != FAULT_NONE and r.x.blame == BLAME_DOWNSTREAM:
        return fault_text(r.x.fault)
    if r.x.blame == BLAME_DOWNSTREAM:
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


cdef const char *openai_type(const Relay *r, int status) noexcept nogil:
    """OpenAI's `type` of an error."""
    if status == 429:
        if r.x.fault == FAULT_QUOTA_REQUESTS or r.x.fault == FAULT_KEY_INFLIGHT:
            return b"requests"
        return b"tokens"
    if status < 500:
        return b"invalid_request_error"
    if status == 503:
        return b"overloaded_error"
    return b"api_error"


cdef const char *openai_code(const Relay *r, int status) noexcept nogil:
    """OpenAI's `code` as a JSON string; empty: the status is the code."""
    if status == 401:
        return b'"invalid_api_key"'
    if status == 403:
        if r.x.cause == CAUSE_NETWORK:
            return b'"address_not_allowed"'
        return b'"model_not_allowed"'
    if status == 429:
        return b'"rate_limit_exceeded"'
    return b""


cdef const char *refused_member(const Relay *r) noexcept nogil:
    """Name of the member of the body that is refused; NULL: the error is another one."""
    if r.x.fault != FAULT_MEMBER or r.x.blame != BLAME_DOWNSTREAM or r.x.surface.held == NULL:
        return NULL
    return r.x.surface.held.members.rules[r.x.surface.member].name


cdef const char *message_of(const Relay *r, char *out, size_t cap) noexcept nogil:
    """The message of an error, in `out` or static."""
    cdef const char *member = refused_member(r)
    if member == NULL:
        return error_text(r)
    snprintf(out, cap, b"The body has a member that is not allowed here: %s.", member)
    return out


cdef int write_openai_error(const Relay *r, int status, char *out, size_t cap) noexcept nogil:
    cdef char[MESSAGE_MOST] text
    cdef const char *message = message_of(r, text, sizeof(text))
    cdef const char *member = refused_member(r)
    if member != NULL:
        return snprintf(
            out, cap,
            b'{"error":{"message":"%s","type":"%s","param":"%s","code":"unknown_parameter"}}',
            message, openai_type(r, status), member,
        )
    if openai_code(r, status)[0]:
        return snprintf(
            out, cap, b'{"error":{"message":"%s","type":"%s","param":null,"code":%s}}',
            message, openai_type(r, status), openai_code(r, status),
        )
    return snprintf(
        out, cap, b'{"error":{"message":"%s","type":"%s","param":null,"code":%d}}',
        message, openai_type(r, status), status,
    )


cdef int write_error_json(const Relay *r, int status, char *out, size_t cap) noexcept nogil:
    cdef char[MESSAGE_MOST] text
    cdef const char *message = message_of(r, text, sizeof(text))
    if r.x.dialect == DIALECT_ANTHROPIC:
        return snprintf(
            out, cap, b'{"type":"error","error":{"type":"%s","message":"%s"}}',
            anthropic_type(status), message,
        )
    if r.x.dialect == DIALECT_OLLAMA:
        return snprintf(out, cap, b'{"error":"%s"}', message)
    if r.x.dialect == DIALECT_TGI:
        return snprintf(
            out, cap, b'{"error":"%s","error_type":"%s"}', message, tgi_type(status)
        )
    if r.x.dialect == DIALECT_WORKER:
        return snprintf(
            out, cap, b'{"text":"%s","error_code":%d}', message, worker_code(status)
        )
    return write_openai_error(r, status, out, cap)


cdef size_t write_cut_event(Relay *r, char *out, size_t cap) noexcept nogil:
    """An event of SSE, or a line where the response is a series of JSON texts."""
    cdef char[512] body
    cdef int status = outcome_status(r.x.blame, r.x.cause)
    cdef bint is_line = r.x.scan.meter.kind == KIND_LINES
    cdef const char *name = b""
    cdef int n
    if r.x.keepalive.has_head and r.x.status >= 400:
        status = r.x.status
    if r.x.dialect == DIALECT_RESPONSES and not is_line:
        # Its events are numbered from 0.
        name = b"event: error\n"
        snprintf(
            body, sizeof(body),
            b'{"type":"error","sequence_number":%u,"code":"server_error","message":"%s",'
            b'"param":null}',
            r.x.scan.meter.n_events, error_text(r),
        )
    elif not is_line and r.x.dialect == DIALECT_TGI \
            and ends_with(r.x.path, r.x.path_len, b"/generate", 9):
        # TGI streams on /generate_stream only: this is SGLang.
        write_openai_error(r, status, body, sizeof(body))
    else:
        if r.x.dialect == DIALECT_ANTHROPIC:
            name = b"event: error\n"
        write_error_json(r, status, body, sizeof(body))
    if not is_line:
        return <size_t>snprintf(out, cap, b"%sdata: %s\n\n", name, body)
    n = snprintf(out, cap, b"%s\n", body)
    if r.x.dialect == DIALECT_WORKER:
        out[n - 1] = 0
    return <size_t>n
