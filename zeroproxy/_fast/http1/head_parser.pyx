"""Request and response heads: bytes in, a verdict and a Head out.

Law 1. Stateless. MORE means: call again with the same bytes and more behind them. All offsets
       count from the first byte given.
Law 2. The verdict, the fault and its place are the same however the bytes were split. Every scan
       ends at the first wrong byte or at a limit, never at a line end it looked ahead for.
Law 3. The strict profile: heads that RFC 9112 lets a recipient repair are refused. Four things are
       accepted: up to LEADING_CRLF empty lines before a request, HTTP/1.2 to 1.9 as 1.1, unknown
       methods, a status line without a reason.
Law 4. Nothing is copied or allocated; a Head borrows the bytes it was given.
Tests: tests/unit/test_http1_requests.py, tests/unit/test_http1_responses.py,
       tests/unit/test_http1_corpus.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t
from libc.string cimport memset

from zeroproxy._fast.http1.field_lines cimport Scan, parse_fields, refuse
from zeroproxy._fast.http1.grammar cimport CR, LF, Cursor
from zeroproxy._fast.http1.semantics cimport judge_request, judge_response
from zeroproxy._fast.http1.start_line cimport parse_request_line, parse_status_line
from zeroproxy._fast.types.http cimport (
    FAULT_BODY_CODED,
    FAULT_BODY_TOO_LARGE,
    FAULT_CODING_UNKNOWN,
    FAULT_COUNT,
    FAULT_EXPECT,
    FAULT_HEAD_TOO_LARGE,
    FAULT_KEY,
    FAULT_KEY_BYTES,
    FAULT_KEY_DISABLED,
    FAULT_KEY_EXPIRED,
    FAULT_KEY_INFLIGHT,
    FAULT_KEY_MODEL,
    FAULT_KEY_UNREAD,
    FAULT_KEY_UPSTREAM,
    FAULT_LINE_END,
    FAULT_LINE_TOO_LONG,
    FAULT_METHOD_REFUSED,
    FAULT_MODEL,
    FAULT_NETWORK,
    FAULT_PATH,
    FAULT_PATH_METHOD,
    FAULT_QUOTA_REQUESTS,
    FAULT_QUOTA_TOKENS,
    FAULT_REQUEST_LINE,
    FAULT_STATUS_LINE,
    FAULT_TOKEN,
    FAULT_TOKEN_TIME,
    FAULT_TOKEN_UNREAD,
    FAULT_TOO_MANY_FIELDS,
    FAULT_UPGRADE,
    FAULT_VERSION,
    FIELDS_MAX,
    VERDICT_MORE,
    VERDICT_OK,
    Head,
    HeadLimits,
    Verdict,
)

cdef enum:
    LEADING_CRLF = 4        # RFC 9112 2.2 asks for one; some callers send one after each body
    HEAD_BYTES_MAX = 65535  # Field and Head hold lengths in 16 bits

ctypedef const char *Word

# In the order of types.http.Fault.
cdef Word[FAULT_COUNT] FAULT_NAMES = [
    b"none", b"request_line", b"method", b"method_refused", b"target", b"version",
    b"status_line", b"line_end", b"field_name", b"field_value", b"field_folded", b"host",
    b"length", b"coding", b"coding_unknown", b"length_and_coding", b"connection", b"expect",
    b"upgrade", b"line_too_long", b"head_too_large", b"too_many_fields", b"body_too_large",
    b"chunk_size", b"chunk_ext", b"chunk_end", b"trailer", b"model",
    b"duplicate", b"key", b"key_model", b"quota_requests", b"quota_tokens", b"key_unread",
    b"model_late", b"model_none", b"body_code", b"body_coded", b"signed", b"options", b"fields",
    b"token", b"token_time", b"token_unread", b"network",
    b"path", b"path_method", b"member",
    b"key_disabled", b"key_expired", b"key_upstream", b"key_inflight", b"key_bytes", b"key_n",
    b"key_max_tokens", b"key_body", b"cache_salt",
]
cdef Word[FAULT_COUNT] FAULT_TEXTS = [
    b"No fault.",
    b"The request line is not of the form: method, space, target, space, HTTP/1.1.",
    b"The method is not a valid HTTP token.",
    b"This method is not served here.",
    b"The request target is not a valid path, query or URL.",
    b"This HTTP version is not supported; use HTTP/1.1.",
    b"The status line is malformed.",
    b"Every line must end in CR LF; a bare CR or LF was found.",
    b"A header field name is empty or holds a character that is not allowed.",
    b"A header field value holds a character that is not allowed.",
    b"A header line begins with white space (line folding is not allowed).",
    b"The Host field is missing, repeated or not a valid host.",
    b"Content-Length is not one plain number.",
    b"Transfer-Encoding must be exactly: chunked.",
    b"This transfer coding is not implemented; use chunked.",
    b"Content-Length and Transfer-Encoding must not be sent together.",
    b"The Connection field names something that may not be removed, or is malformed.",
    b"The only expectation that can be met is 100-continue.",
    b"A protocol switch that nobody asked for.",
    b"The request line is too long.",
    b"The header section is too large.",
    b"There are too many header fields.",
    b"The body is too large.",
    b"A chunk size is malformed or too large.",
    b"A chunk extension is malformed or too large.",
    b"A chunk does not end in CR LF.",
    b"The trailer section is malformed.",
    b"No inference server here serves the model that was asked for.",
    b"A header field that may occur only once was repeated.",
    b"The API key is missing or not known here.",
    b"The API key does not allow this model.",
    b"The quota of this API key is exhausted: requests per minute.",
    b"The quota of this API key is exhausted: tokens per minute.",
    b"The API key allows some models only, and this request does not name one of them plainly: "
    b"send a JSON object, in UTF-8, with one model in it.",
    b"The model must be named within the first 64 KiB of the request, its head included.",
    b"The request names no model, and no inference server here takes requests without one.",
    b"A JSON body must be encoded in UTF-8.",
    b"The body has a Content-Encoding, and what it asks for must be read here: send it without.",
    b"This API key has a quota of tokens, and a signed body (Signature, x-amz-content-sha256) "
    b"cannot be asked for usage here: ask with stream_options.include_usage, or do not sign it.",
    b"This API key has a quota of tokens: stream_options must be one object that names each of its "
    b"members once.",
    b"This API key has a quota of tokens: response_fields leaves out what counts them.",
    b"The token is not valid here: its form, signature, issuer, audience or claims are refused.",
    b"The token has expired, or is not valid yet.",
    b"The token cannot be verified now; try again later.",
    b"Requests from this address are not allowed.",
    b"This path is not served here.",
    b"This path is not served here with this method.",
    b"The body has a member that is not allowed here.",
    b"The API key is disabled.",
    b"The API key has expired.",
    b"The API key does not allow the inference server that serves this model.",
    b"Too many requests of this API key are in flight.",
    b"The body is larger than this API key allows.",
    b"This API key limits the choices of a request (n, best_of): ask for fewer, once, as a plain "
    b"whole number.",
    b"This API key limits the tokens of an answer (max_tokens, max_completion_tokens, "
    b"max_output_tokens, n_predict, num_predict, max_new_tokens): name each once, plainly spelt, "
    b"as a whole number from 0 on.",
    b"This API key has limits that are looked for in the body: send one JSON object, in UTF-8, "
    b"without a Content-Encoding.",
    b"cache_salt is set here for each caller: leave it out.",
]


cdef const char *fault_name(int fault) noexcept nogil:
    return FAULT_NAMES[fault]


cdef const char *fault_text(int fault) noexcept nogil:
    """Sentence for the error message to a caller; static."""
    return FAULT_TEXTS[fault]


cdef int fault_status(int fault) noexcept nogil:
    """Status for a request with this fault. A response with a fault is a 502."""
    if fault in (
        FAULT_KEY, FAULT_KEY_DISABLED, FAULT_KEY_EXPIRED, FAULT_TOKEN, FAULT_TOKEN_TIME
    ):
        return 401
    if fault in (FAULT_KEY_MODEL, FAULT_KEY_UNREAD, FAULT_KEY_UPSTREAM, FAULT_NETWORK):
        return 403
    if fault == FAULT_TOKEN_UNREAD:
        return 503
    if fault == FAULT_QUOTA_REQUESTS or fault == FAULT_QUOTA_TOKENS or fault == FAULT_KEY_INFLIGHT:
        return 429
    if fault == FAULT_METHOD_REFUSED or fault == FAULT_PATH_METHOD:
        return 405
    if fault == FAULT_MODEL or fault == FAULT_PATH:
        return 404
    if fault == FAULT_BODY_TOO_LARGE or fault == FAULT_KEY_BYTES:
        return 413
    if fault == FAULT_BODY_CODED:
        return 415
    if fault == FAULT_LINE_TOO_LONG:
        return 414
    if fault == FAULT_EXPECT:
        return 417
    if fault == FAULT_HEAD_TOO_LARGE or fault == FAULT_TOO_MANY_FIELDS:
        return 431
    if fault == FAULT_CODING_UNKNOWN:
        return 501
    if fault == FAULT_VERSION:
        return 505
    return 502 if fault == FAULT_UPGRADE or fault == FAULT_STATUS_LINE else 400

cdef Verdict skip_empty_lines(Scan *s, Head *head) noexcept nogil:
    cdef int n = 0
    while s.at < s.end and s.at[0] == CR:
        n += 1
        if n > LEADING_CRLF:
            return refuse(head, FAULT_REQUEST_LINE, s.base, s.at)
        if s.at + 1 == s.end:
            return VERDICT_MORE
        if s.at[1] != LF:
            return refuse(head, FAULT_LINE_END, s.base, s.at + 1)
        s.at += 2
    return VERDICT_OK

# ---------------------------------------------------------------- heads


cdef void begin(Scan *s, Head *head, const char *buf, size_t most) noexcept nogil:
    memset(head, 0, <char *>&head.fields[0] - <char *>head)
    head.base = buf
    head.host_field = head.upgrade_field = head.max_forwards = -1
    s.base = s.at = <Cursor>buf
    s.end = s.base + most


cdef Verdict parse_start_line(
    Scan *s, Head *head, uint32_t line_bytes, bint is_request,
) noexcept nogil:
    """Parse the start line. MORE at the limit is a line that can only be too long."""
    cdef Cursor end = s.end
    cdef Cursor line = s.at
    cdef bint cut = <size_t>(end - line) >= line_bytes
    cdef Verdict verdict
    if cut:
        s.end = line + line_bytes
    verdict = parse_request_line(s, head) if is_request else parse_status_line(s, head)
    if verdict == VERDICT_MORE and cut:
        return refuse(head, FAULT_LINE_TOO_LONG, s.base, s.end)
    s.end = end
    return verdict


cdef Verdict parse_head(
    Scan *s, const HeadLimits *limits, Head *head, bint is_request,
) noexcept nogil:
    cdef uint32_t most = limits.field_count if limits.field_count < FIELDS_MAX else FIELDS_MAX
    cdef Verdict verdict = skip_empty_lines(s, head) if is_request else VERDICT_OK
    if verdict == VERDICT_OK:
        verdict = parse_start_line(s, head, limits.line_bytes, is_request)
    if verdict == VERDICT_OK:
        verdict = parse_fields(s, head, most)
    if verdict == VERDICT_OK:
        head.consumed = <uint32_t>(s.at - s.base)
    return verdict


cdef inline size_t head_most(const HeadLimits *limits) noexcept nogil:
    return limits.head_bytes if limits.head_bytes < HEAD_BYTES_MAX else HEAD_BYTES_MAX


cdef Verdict parse_request_head(
    const char *buf, size_t len, const HeadLimits *limits, Head *head,
) noexcept nogil:
    """Parse a request head. OK: it is complete, `consumed` bytes long, with the meaning in it."""
    cdef size_t most = head_most(limits)
    cdef Scan s
    cdef Verdict verdict
    begin(&s, head, buf, len if len < most else most)
    verdict = parse_head(&s, limits, head, 1)
    if verdict == VERDICT_MORE and len >= most:
        return refuse(head, FAULT_HEAD_TOO_LARGE, s.base, s.end)
    return judge_request(head) if verdict == VERDICT_OK else verdict


cdef Verdict parse_response_head(
    const char *buf, size_t len, const HeadLimits *limits, bint to_head, Head *head,
) noexcept nogil:
    """Parse a response head; `to_head`: it answers a HEAD request. `upgrade` is the protocol of a
    101; the caller decides whether that was requested."""
    cdef size_t most = head_most(limits)
    cdef Scan s
    cdef Verdict verdict
    begin(&s, head, buf, len if len < most else most)
    verdict = parse_head(&s, limits, head, 0)
    if verdict == VERDICT_MORE and len >= most:
        return refuse(head, FAULT_HEAD_TOO_LARGE, s.base, s.end)
    return judge_response(head, to_head) if verdict == VERDICT_OK else verdict
