"""Which upstream a request goes to: by the model it names.

Law 1. With one upstream nothing is looked at, unless the caller's key allows some models only. Else
       a POST of JSON waits in the in-buffer
       until the model has been read, the body has ended, or ROUTE_MAX bytes have gone by without
       one: then it goes where requests without a model go.
Law 2. The begin of a body is read again only when it has doubled: single bytes cost no more. (Only
       a chunked one may end at any byte: there each read of it costs at most a look at ROUTE_MAX.)
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t
from libc.string cimport memcmp, memcpy

from zeroproxy._fast.asked cimport WISH_NOTHING, Edit, asked_begin, asked_feed
from zeroproxy._fast.body cimport Cut, body_begin, body_unframe
from zeroproxy._fast.conn cimport conn_send
from zeroproxy._fast.gate cimport is_bound, is_plain_json, may_ask_for
from zeroproxy._fast.meter cimport KIND_JSON
from zeroproxy._fast.meter_types cimport Asked
from zeroproxy._fast.metering cimport kind_of_type
from zeroproxy._fast.plane cimport Plane, Relay, Route
from zeroproxy._fast.routing cimport ROUTE_DENIED, ROUTE_MAX, ROUTE_MORE, ROUTE_NONE
from zeroproxy._fast.types cimport (
    FIELD_CONTENT_ENCODING,
    FIELD_CONTENT_TYPE,
    FRAMING_CHUNKED,
    FRAMING_LENGTH,
    FRAMING_NONE,
    METHOD_POST,
    UPGRADE_WEBSOCKET,
    Body,
    Head,
)


cdef bint says_what(const Head *h) noexcept nogil:
    """Whether the body can say which model is meant, and whose request it is."""
    cdef int i
    cdef bint is_json = 0
    if h.method != METHOD_POST or h.framing == FRAMING_NONE:
        return 0
    for i in range(h.n_fields):
        if h.fields[i].id == FIELD_CONTENT_ENCODING:
            return 0
        if h.fields[i].id == FIELD_CONTENT_TYPE:
            is_json = kind_of_type(
                h.base + h.fields[i].value_at, h.fields[i].value_len
            ) == KIND_JSON
    return is_json


cdef size_t body_here(const Head *h, size_t here) noexcept nogil:
    """How much of the body is looked at, of the `here` bytes that came along behind the head."""
    cdef size_t n = here if here < ROUTE_MAX else <size_t>ROUTE_MAX
    return <size_t>h.length if h.framing == FRAMING_LENGTH and n > h.length else n


cdef bint begin_of_body(
    Plane *p, Relay *r, const Head *h, size_t n, const char **at, size_t *len,
) noexcept nogil:
    """The first `n` bytes behind the head without their framing: in place, or in p.compose. 1: the
    body ends in them, or is wrong."""
    cdef Body body
    cdef Cut cut
    at[0] = h.base + h.consumed
    len[0] = n
    if h.framing != FRAMING_CHUNKED:
        return h.framing == FRAMING_LENGTH and n >= h.length
    # Taking the framing off moves bytes: of a copy, the body itself is still to be read.
    memcpy(p.compose, at[0], n)
    body_begin(&body, FRAMING_CHUNKED, 0)
    body_unframe(&body, p.compose, n, &cut, r.terms.extra_bytes)
    at[0] = p.compose + cut.data_at
    len[0] = cut.data_len
    return body.done or cut.consumed < n


cdef bint read_begin(Plane *p, Relay *r, const Head *h, size_t n, Asked *a) noexcept nogil:
    """Read the first `n` bytes behind the head; 1: the body ends in them, or is wrong."""
    cdef const char *at
    cdef size_t len
    cdef Edit due
    cdef bint is_all = begin_of_body(p, r, h, n, &at, &len)
    asked_begin(a, WISH_NOTHING)
    asked_feed(a, at, len, &due)
    a.is_veiled |= not is_plain_json(at, len)
    return is_all


cdef int find_route(const Plane *p, const Asked *a, const Route **route) noexcept nogil:
    cdef const Route *found
    cdef uint32_t k
    for k in range(p.n_routes):
        found = &p.routes[k]
        if found.len == a.model_len and memcmp(found.model, a.model, a.model_len) == 0:
            # Of two models in one request the server takes which it likes: none is renamed.
            route[0] = found if a.has_model == 1 else NULL
            return found.upstream
    return p.default_upstream if p.default_upstream >= 0 else <int>ROUTE_NONE


cdef void ask_for_body(Plane *p, Relay *r, const Head *h) noexcept nogil:
    """The caller waits for a word before it sends what we need."""
    if h.asks_continue and not r.said_continue:
        r.said_continue = 1
        conn_send(p, &r.down, b"HTTP/1.1 100 Continue\r\n\r\n", 25)


cdef void wait_for_body(Plane *p, Relay *r, const Head *h, size_t n) noexcept nogil:
    """`n` bytes of the body were not enough: look again when there are so many more."""
    cdef size_t again = n + 1 if h.framing == FRAMING_CHUNKED else 2 * n + 64
    ask_for_body(p, r, h)
    if again > ROUTE_MAX:
        again = ROUTE_MAX
    if h.framing == FRAMING_LENGTH and again > h.length:
        again = <size_t>h.length
    r.routes_at = <uint32_t>(h.consumed + again)


cdef int route_request(
    Plane *p, Relay *r, const Head *h, size_t here, const Route **route,
) noexcept nogil:
    """Index of the upstream, or a Routed. `here` bytes came along behind the head. `route`: set to
    the row that was found, or NULL."""
    cdef Asked a
    cdef size_t n = body_here(h, here)
    cdef bint is_all, bound = is_bound(r)
    r.routes_at = 0
    route[0] = NULL
    if p.n_routes == 0 and not bound:
        return 0
    if not says_what(h):
        if bound and (h.framing != FRAMING_NONE or h.upgrade == UPGRADE_WEBSOCKET):
            return ROUTE_DENIED
        return p.default_upstream if p.default_upstream >= 0 else 0
    is_all = read_begin(p, r, h, n, &a)
    if a.has_model:
        return find_route(p, &a, route) if not bound or may_ask_for(r, &a) else <int>ROUTE_DENIED
    if is_all or a.is_done or n == ROUTE_MAX:
        if bound:
            return ROUTE_DENIED
        return p.default_upstream if p.default_upstream >= 0 else <int>ROUTE_NONE
    wait_for_body(p, r, h, n)
    return ROUTE_MORE
