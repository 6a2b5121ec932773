"""Heads as they travel on: a Head in, bytes out.

Law 1. Every line is written anew; lines that are neither dropped nor rewritten by name keep their
       order, their spelling and their bytes.
Law 2. Fields of one hop end here: Connection and all it names, Keep-Alive, TE, Trailer, Upgrade
       unless the switch was requested, framing. Framing is written by the body as it is sent,
       never copied.
Law 3. No line can be injected. Names are tokens and values hold no CR, LF or NUL (field_lines.pyx,
       law 3); start_line refuses them in methods, targets and reasons. A Host or authority is a
       host and a port, and numbers are printed here. Lines of the proxy (`lines`) are made of
       names, words and numbers that no peer has sent. Spans of the proxy (peer, ids, authority) are
       left out if they hold a byte that a field value may not hold.
Law 4. All or nothing: 0 means that it does not fit in `cap`; no byte at or past it is written.
Tests: tests/unit/test_headers.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t

from zeroproxy._fast.http1.field_ids_and_values cimport is_protocol
from zeroproxy._fast.http1.field_lines cimport find_request_id, find_traceparent
from zeroproxy._fast.http1.forwarded cimport put_origin
from zeroproxy._fast.http1.grammar cimport Cursor, is_word, next_element
from zeroproxy._fast.http1.hop cimport RequestHop, ResponseHop
from zeroproxy._fast.http1.out cimport (
    Out,
    clean,
    put,
    put_field,
    put_line,
    put_optional,
    put_span,
    put_word,
    requested_host,
)
from zeroproxy._fast.types.http cimport (
    FIELD_ALIAS,
    FIELD_API_KEY,
    FIELD_AUTHORIZATION,
    FIELD_CONNECTION,
    FIELD_CONTENT_LENGTH,
    FIELD_DATE,
    FIELD_EXPECT,
    FIELD_FORWARDED,
    FIELD_HOST,
    FIELD_HTTP2_SETTINGS,
    FIELD_KEEP_ALIVE,
    FIELD_MAX_FORWARDS,
    FIELD_OTHER,
    FIELD_PROXY_CONNECTION,
    FIELD_TE,
    FIELD_TRACEPARENT,
    FIELD_TRAILER,
    FIELD_TRANSFER_ENCODING,
    FIELD_UPGRADE,
    FIELD_X_API_KEY,
    FIELD_X_FORWARDED,
    FIELD_X_FORWARDED_FOR,
    FIELD_X_FORWARDED_HOST,
    FIELD_X_FORWARDED_PROTO,
    FIELD_X_REAL_IP,
    FIELD_X_REQUEST_ID,
    FRAMING_CHUNKED,
    FRAMING_LENGTH,
    FRAMING_NONE,
    METHOD_OPTIONS,
    UPGRADE_WEBSOCKET,
    Field,
    Head,
    Span,
)

cdef uint64_t ONE_HOP = (
    (1ULL << <int>FIELD_CONNECTION) | (1ULL << <int>FIELD_KEEP_ALIVE)
    | (1ULL << <int>FIELD_PROXY_CONNECTION) | (1ULL << <int>FIELD_TE)
    | (1ULL << <int>FIELD_TRAILER) | (1ULL << <int>FIELD_UPGRADE)
    | (1ULL << <int>FIELD_TRANSFER_ENCODING) | (1ULL << <int>FIELD_CONTENT_LENGTH)
    | (1ULL << <int>FIELD_HTTP2_SETTINGS)
)
# In requests also the fields that put_request_extras writes anew.
cdef uint64_t NOT_COPIED = ONE_HOP | (
    (1ULL << <int>FIELD_HOST) | (1ULL << <int>FIELD_EXPECT)
    | (1ULL << <int>FIELD_X_FORWARDED_FOR) | (1ULL << <int>FIELD_X_FORWARDED_PROTO)
    | (1ULL << <int>FIELD_X_FORWARDED_HOST) | (1ULL << <int>FIELD_X_REQUEST_ID)
    | (1ULL << <int>FIELD_TRACEPARENT) | (1ULL << <int>FIELD_ALIAS)
    | (1ULL << <int>FIELD_FORWARDED) | (1ULL << <int>FIELD_X_REAL_IP)
)
# The origin of a request: trusted only from a proxy of one's own.
cdef uint64_t UNTRUSTED_FIELDS = 1ULL << <int>FIELD_X_FORWARDED
cdef uint64_t KEYS = 1ULL << <int>FIELD_AUTHORIZATION | 1ULL << <int>FIELD_X_API_KEY \
    | 1ULL << <int>FIELD_API_KEY

# ---------------------------------------------------------------- lines both directions need


cdef void put_number(Out *o, uint64_t n) noexcept nogil:
    cdef char[20] digits
    cdef int i = 20
    while 1:
        i -= 1
        digits[i] = <char>(48 + n % 10)
        n //= 10
        if n == 0:
            break
    put(o, &digits[i], 20 - i)


cdef void put_framing(Out *o, uint8_t framing, uint64_t length) noexcept nogil:
    if framing == FRAMING_LENGTH:
        put_word(o, b"Content-Length: ")
        put_number(o, length)
        put_word(o, b"\r\n")
    elif framing == FRAMING_CHUNKED:
        put_word(o, b"Transfer-Encoding: chunked\r\n")


cdef bint put_upgrade(Out *o, const Head *h) noexcept nogil:
    """Write one Upgrade line of all members of a response but h2c; 0: there is none."""
    cdef const Field *f
    cdef Cursor at
    cdef Cursor end
    cdef Span element
    cdef bint any_yet = 0
    cdef int i
    for i in range(h.n_fields):
        f = &h.fields[i]
        if f.id != FIELD_UPGRADE:
            continue
        at = <Cursor>h.base + f.value_at
        end = at + f.value_len
        while next_element(&at, end, &element):
            if is_protocol(element):
                put_word(o, b", " if any_yet else b"Upgrade: ")
                put_span(o, element)
                any_yet = 1
    if any_yet:
        put_word(o, b"\r\n")
    return any_yet

# ---------------------------------------------------------------- requests


cdef void put_request_line(Out *o, const Head *h) noexcept nogil:
    put(o, h.base + h.method_at, h.method_len)
    put_word(o, b" ")
    if h.target_len == 0:
        put_word(o, b"*" if h.method == METHOD_OPTIONS else b"/")
    elif h.path_only_query:
        put_word(o, b"/")
    put(o, h.base + h.target_at, h.target_len)
    put_word(o, b" HTTP/1.1\r\n")


cdef void put_kept(Out *o, const Head *h, uint64_t dropped, bint keeps_tracestate) noexcept nogil:
    cdef const Field *f
    cdef int i
    for i in range(h.n_fields):
        f = &h.fields[i]
        if f.nominated or (dropped >> f.id) & 1:
            continue
        if f.id == FIELD_OTHER and not keeps_tracestate \
                and is_word(<Cursor>h.base + f.name_at, f.name_len, b"tracestate", 10):
            continue
        if f.id == FIELD_MAX_FORWARDS and h.max_forwards > 0:
            put_word(o, b"Max-Forwards: ")
            put_number(o, h.max_forwards - 1)
            put_word(o, b"\r\n")
            continue
        put_field(o, h, f)


cdef void put_request_extras(
    Out *o, const Head *h, const RequestHop *hop, Span trace,
) noexcept nogil:
    cdef Span request_id = find_request_id(h)
    put_origin(o, h, hop)
    put_optional(o, b"X-Request-Id: ", request_id if request_id.len else clean(hop.request_id))
    put_optional(o, b"traceparent: ", trace if trace.len else clean(hop.traceparent))
    if hop.adds_via:
        put_word(o, b"Via: 1.1 zeroproxy\r\n" if h.minor else b"Via: 1.0 zeroproxy\r\n")


cdef size_t write_request_head(
    const Head *h, const RequestHop *hop, char *out, size_t cap,
) noexcept nogil:
    """Write the head of a request as it goes upstream; returns its length, 0: it does not fit."""
    cdef uint64_t dropped = NOT_COPIED
    cdef Span host = requested_host(h)
    cdef Span trace = find_traceparent(h)
    cdef Out o
    o.at = out
    o.end = out + cap
    o.full = 0
    put_request_line(&o, h)
    put_line(&o, b"Host: ", host if host.len and not hop.drops_host else clean(hop.host))
    if hop.drops_keys:
        dropped |= KEYS
    if not hop.trusts_forwarded:
        dropped |= UNTRUSTED_FIELDS
    put_kept(&o, h, dropped, trace.len != 0)
    put_optional(&o, b"Authorization: ", clean(hop.bearer))
    put_span(&o, hop.lines)
    put_framing(&o, hop.framing, hop.length)
    if h.upgrade == UPGRADE_WEBSOCKET:
        put_word(&o, b"Upgrade: websocket\r\nConnection: upgrade\r\n")
    put_request_extras(&o, h, hop, trace)
    put_word(&o, b"\r\n")
    return 0 if o.full else o.at - out

# ---------------------------------------------------------------- responses


cdef void put_status_line(Out *o, const Head *h) noexcept nogil:
    put_word(o, b"HTTP/1.1 ")
    put_number(o, h.status)
    put_word(o, b" ")
    put(o, h.base + h.reason_at, h.reason_len)
    put_word(o, b"\r\n")


cdef void put_connection(Out *o, const Head *h, const ResponseHop *back) noexcept nogil:
    """426 names the protocol to ask for, so its Upgrade travels on (RFC 9110 15.5.22)."""
    if (back.switches or h.status == 426) and put_upgrade(o, h):
        put_word(o, b"Connection: upgrade")
        put_word(o, b", close\r\n" if back.closes else b"\r\n")
    elif back.closes:
        put_word(o, b"Connection: close\r\n")
    elif back.keeps_alive:
        put_word(o, b"Connection: keep-alive\r\n")


cdef uint64_t put_response_fields(Out *o, const Head *h, bint keeps_length) noexcept nogil:
    """Write the response's own fields; returns their ids, as bits."""
    cdef const Field *f
    cdef uint64_t found = 0
    cdef int i
    for i in range(h.n_fields):
        f = &h.fields[i]
        if f.nominated:
            continue
        found |= 1ULL << f.id
        if not (ONE_HOP >> f.id) & 1 or (keeps_length and f.id == FIELD_CONTENT_LENGTH):
            put_field(o, h, f)
    return found


cdef size_t write_response_head(
    const Head *h, const ResponseHop *back, char *out, size_t cap,
) noexcept nogil:
    """Write the head of a response as it goes downstream; returns its length, 0: it does not fit.
    A response to HEAD, or a 304, keeps the length it would have had; 1xx and 204 have none."""
    cdef bint bare = h.status < 200 or h.status == 204
    cdef bint keeps_length = h.framing == FRAMING_NONE and not bare
    cdef Out o
    o.at = out
    o.end = out + cap
    o.full = 0
    put_status_line(&o, h)
    cdef uint64_t found = put_response_fields(&o, h, keeps_length)
    if not bare and not keeps_length:
        put_framing(&o, back.framing, back.length)
    if h.status >= 200 or back.switches:
        if not (found >> FIELD_X_REQUEST_ID) & 1:
            put_optional(&o, b"X-Request-Id: ", clean(back.request_id))
        if not (found >> FIELD_DATE) & 1:
            put_optional(&o, b"Date: ", back.date)
        put_span(&o, back.lines)
        if back.cors.len:
            put_span(&o, back.cors)
        put_connection(&o, h, back)
    put_word(&o, b"\r\n")
    return 0 if o.full else o.at - out
