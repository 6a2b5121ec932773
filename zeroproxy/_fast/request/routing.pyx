"""Routing of a request to an upstream, by the model it names.

Law 1. Without routes no model is looked for, unless the caller's key allows some models only. Else
       a POST of JSON, or of a form, waits in the in-buffer until its model is read or its body has
       ended. If neither is in the first LOOK_MAX bytes, the request is refused.
Law 2. A body is JSON if its type is JSON, or if its type is no form and it begins with a brace.
       Servers read it so. A coded body is neither. A request without a body, or for a WebSocket, is
       routed by `model` in its query.
Law 3. A request that names no model goes to the upstream without models. If there is none, it goes
       to the first upstream, but a POST with a body is refused.
Law 4. A head that waits is parsed again only when the part of the body that is here has doubled, so
       single bytes cost no more. (A chunked body may end at any byte: each read of it takes the
       framing off again.) A JSON body is scanned once, by Exchange.scan. Each look begins where the
       one before has ended, and the body on its way behind the last (body_edits.pyx).
Tests: tests/relay/test_routing.py, tests/relay/test_named.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t
from libc.string cimport memcpy, memset

from zeroproxy._fast.exchange.actions cimport send_continue
from zeroproxy._fast.exchange.path_kinds cimport is_generating
from zeroproxy._fast.http1.body cimport BodySlice, body_begin, body_unframe
from zeroproxy._fast.http1.field_ids_and_values cimport is_media_type
from zeroproxy._fast.http1.field_lines cimport has_field
from zeroproxy._fast.http1.grammar cimport Cursor, is_word
from zeroproxy._fast.jsonscan.request_scan cimport (
    request_scan_begin,
    request_scan_feed,
    request_scan_is_in_model,
)
from zeroproxy._fast.jsonscan.strings cimport name_add, name_clear, name_is
from zeroproxy._fast.request.authorization cimport (
    has_token_quota,
    is_model_allowed,
    is_model_restricted,
    is_plain_json,
    terms_to_read,
)
from zeroproxy._fast.request.form_guard cimport is_plain_boundary
from zeroproxy._fast.request.form_model cimport (
    FORM_ABSENT,
    FORM_FOUND,
    FORM_MORE,
    boundary_of,
    form_field,
)
from zeroproxy._fast.request.query cimport query_model
from zeroproxy._fast.request.routing cimport (
    BODY_FORM,
    BODY_JSON,
    BODY_MORE,
    BODY_NONE,
    BODY_OTHER,
    LOOK_MAX,
    ROUTE_MORE,
    BodyStart,
    Target,
)
from zeroproxy._fast.tenants.keys_and_quotas cimport key_allows
from zeroproxy._fast.types.http cimport (
    FAULT_BODY_CODE,
    FAULT_BODY_CODED,
    FAULT_KEY_MODEL,
    FAULT_KEY_UNREAD,
    FAULT_MODEL,
    FAULT_MODEL_LATE,
    FAULT_MODEL_NONE,
    FIELD_CONTENT_ENCODING,
    FIELD_CONTENT_TYPE,
    FRAMING_CHUNKED,
    FRAMING_LENGTH,
    METHOD_POST,
    UPGRADE_WEBSOCKET,
    Body,
    Field,
    Head,
)
from zeroproxy._fast.types.invariant cimport invariant
from zeroproxy._fast.types.meter cimport RequestScan
from zeroproxy._fast.types.model_name cimport Route
from zeroproxy._fast.types.plane cimport Plane, Relay


cdef inline int refused(int fault) noexcept nogil:
    """Result of route_request for a Fault."""
    return ROUTE_MORE - fault


# ---------------------------------------------------------------- the start of a body


cdef inline bint has_body(const Head *h) noexcept nogil:
    return h.framing == FRAMING_CHUNKED or (h.framing == FRAMING_LENGTH and h.length != 0)


cdef bint is_coded(const Head *h) noexcept nogil:
    cdef const Field *f
    cdef int i
    if not has_field(h, FIELD_CONTENT_ENCODING):
        return 0
    for i in range(h.n_fields):
        f = &h.fields[i]
        if f.id == FIELD_CONTENT_ENCODING and f.value_len and not is_word(
            <Cursor>h.base + f.value_at, f.value_len, b"identity", 8
        ):
            return 1
    return 0


cdef const Field *content_type(const Head *h) noexcept nogil:
    cdef int i
    for i in range(h.n_fields):
        if h.fields[i].id == FIELD_CONTENT_TYPE:
            return &h.fields[i]
    return NULL


cdef inline bint may_refuse_members(const Relay *r) noexcept nogil:
    """True if any upstream refuses members: which one gets the request is not known yet."""
    return r.x.surface.held != NULL and r.x.surface.held.members.n != 0


cdef enum RequestType:      # by its Content-Type
    REQUEST_TYPE_NONE = 0
    REQUEST_TYPE_JSON
    REQUEST_TYPE_FORM
    REQUEST_TYPE_OTHER


cdef int type_of_request(const char *at, size_t len) noexcept nogil:
    cdef size_t n = 0
    if is_media_type(at, len, b"application/json", 16):
        return REQUEST_TYPE_JSON
    while n < len and at[n] != c';' and at[n] != c' ' and at[n] != c'\t':
        n += 1
    if n == 0:
        return REQUEST_TYPE_NONE
    if is_media_type(at, len, b"text/json", 9) \
            or (n > 5 and is_word(<Cursor>at + n - 5, 5, b"+json", 5)):
        return REQUEST_TYPE_JSON
    if is_media_type(at, len, b"multipart/form-data", 19):
        return REQUEST_TYPE_FORM
    return REQUEST_TYPE_OTHER


cdef int kind_by_type(const Relay *r, const Head *h) noexcept nogil:
    """BodyKind by the head; BODY_MORE: the first byte decides. That it says if members are refused,
    even of a form: there are servers that read JSON whatever its type."""
    cdef const Field *f
    cdef int kind = REQUEST_TYPE_NONE
    if not has_body(h):
        return BODY_NONE
    if h.method != METHOD_POST or is_coded(h):
        return BODY_OTHER
    f = content_type(h)
    if f != NULL:
        kind = type_of_request(h.base + f.value_at, f.value_len)
    if kind == REQUEST_TYPE_JSON:
        return BODY_JSON
    if kind == REQUEST_TYPE_FORM and not may_refuse_members(r):
        return BODY_FORM
    return BODY_MORE


cdef int kind_by_byte(const Relay *r, const Head *h, const BodyStart *b) noexcept nogil:
    cdef const Field *f = content_type(h)
    cdef bint is_unsaid = f == NULL or f.value_len == 0 or may_refuse_members(r)
    cdef int other = BODY_OTHER
    if f != NULL and type_of_request(h.base + f.value_at, f.value_len) == REQUEST_TYPE_FORM:
        other = BODY_FORM
    cdef size_t k = 0
    cdef unsigned char c
    while k < b.len:
        c = <unsigned char>b.at[k]
        # Behind a byte order mark servers in Python skip blanks too.
        if c == c'{' or (c == 0xEF and (
            k + 3 >= b.len or b.at[k + 3] in (c'{', c' ', c'\t', c'\r', c'\n')
        )):
            return BODY_JSON
        # Python's json decodes UTF-16 and UTF-32; servers in Python read a body without a type.
        if c not in (c' ', c'\t', c'\r', c'\n') and not (is_unsaid and (c == 0 or c >= 0xFE)):
            return other
        k += 1
    if b.is_all and b.len == 0:
        return BODY_NONE
    if b.is_full:
        # Blanks so far, and JSON may follow.
        return BODY_JSON
    return other if b.is_all else <int>BODY_MORE


cdef size_t end_of_body(Plane *p, Relay *r, const Head *h, size_t here) noexcept nogil:
    cdef BodySlice cut
    if h.framing == FRAMING_LENGTH and h.length <= here:
        r.x.request_body.done = 1
        return <size_t>h.length
    if h.framing != FRAMING_CHUNKED or here > LOOK_MAX:
        return 0
    memcpy(p.compose, h.base + h.consumed, here)
    body_unframe(&r.x.request_body, p.compose, here, &cut, r.x.settings.extra_bytes)
    return cut.consumed if r.x.request_body.done else 0


cdef void open_body(Plane *p, Relay *r, const Head *h, BodyStart *b) noexcept nogil:
    """Find the body bytes that are here: in place, or unframed into p.compose."""
    cdef Body body
    cdef BodySlice cut
    if b.at != NULL:
        return
    b.at = h.base + h.consumed
    b.len = b.n
    if h.framing != FRAMING_CHUNKED:
        b.is_all = b.n >= h.length
        return
    # Unframing moves bytes, and the body itself is still to be read: use a copy.
    memcpy(p.compose, b.at, b.n)
    body_begin(&body, FRAMING_CHUNKED, 0)
    body_unframe(&body, p.compose, b.n, &cut, r.x.settings.extra_bytes)
    b.at = p.compose + cut.data_at
    b.len = cut.data_len
    b.is_all = body.done or cut.consumed < b.n


cdef void begin_scan(const Plane *p, Relay *r, const Head *h) noexcept nogil:
    """Start the scan at the first look. A later one starts it again only if a reload has
    restricted the caller's key to models since. A new quota of tokens, and new terms, do so too."""
    cdef const RequestScan *a = &r.x.scan.request
    cdef bint is_strict = is_model_restricted(r)
    cdef int reads = terms_to_read(p, r)
    if r.x.scans_body and (a.is_strict or not is_strict) \
            and (a.reads_bound or not has_token_quota(r)) and a.of_kind.terms.reads == reads:
        return
    r.x.scans_body = 1
    request_scan_begin(&r.x.scan.request, &r.x.model)
    r.x.scan.request.is_strict = is_strict
    r.x.scan.request.of_kind.terms.reads = <unsigned char>reads
    r.x.scan.request.reads_bound = has_token_quota(r)
    if may_refuse_members(r):
        r.x.scan.request.refusable = &r.x.surface.held.members
    # A name in the body replaces the query's.
    query_model(h, &r.x.model)


cdef void scan_body(Plane *p, Relay *r, const Head *h, BodyStart *b) noexcept nogil:
    open_body(p, r, h, b)
    request_scan_feed(&r.x.scan.request, 0, b.at, b.len)
    invariant(r.x.scan.request.n_read == b.len)


cdef void peek_body(Plane *p, Relay *r, const Head *h, size_t here, BodyStart *b) noexcept nogil:
    cdef size_t most = LOOK_MAX - h.consumed if h.consumed < LOOK_MAX else 0
    memset(b, 0, sizeof(BodyStart))
    b.is_full = here >= most
    b.n = most if b.is_full else here
    if h.framing == FRAMING_LENGTH and b.n > h.length:
        b.n = <size_t>h.length
    b.kind = <unsigned char>(BODY_JSON if r.x.scans_body else kind_by_type(r, h))
    if b.kind == BODY_MORE:
        open_body(p, r, h, b)
        b.kind = <unsigned char>kind_by_byte(r, h, b)
    if b.kind == BODY_JSON:
        begin_scan(p, r, h)


cdef void wait_for_body(Plane *p, Relay *r, const Head *h, const BodyStart *b) noexcept nogil:
    """Twice as much is needed, or one byte more of a chunked body."""
    cdef size_t again = b.n + 1 if h.framing == FRAMING_CHUNKED else 2 * b.n + 64
    # The caller may wait for this before it sends the body.
    if h.asks_continue and not r.x.sent_100:
        r.x.sent_100 = 1
        send_continue(p, r)
    if h.framing == FRAMING_LENGTH and again > h.length:
        again = <size_t>h.length
    again += h.consumed
    r.x.routes_at = <uint32_t>(again if again < LOOK_MAX else <size_t>LOOK_MAX)


# ---------------------------------------------------------------- routes


cdef int find_route(const Plane *p, const Relay *r, Target *to) noexcept nogil:
    """Index of the upstream for r.x.model."""
    cdef const Route *found
    cdef uint32_t k
    for k in range(p.n_routes):
        found = &p.routes[k]
        if name_is(&r.x.model, found.model, found.len):
            to.route = found
            return found.upstream
    return p.default_upstream if p.default_upstream >= 0 else refused(FAULT_MODEL)


cdef int route_nameless(const Plane *p, const Head *h) noexcept nogil:
    if p.default_upstream >= 0:
        return p.default_upstream
    return refused(FAULT_MODEL_NONE) if h.method == METHOD_POST and has_body(h) else 0


cdef int more(Plane *p, Relay *r, const Head *h, const BodyStart *b) noexcept nogil:
    """Wait for more of the body, if no model was found."""
    if b.is_full:
        return refused(FAULT_MODEL_LATE)
    wait_for_body(p, r, h, b)
    return ROUTE_MORE


cdef int route_json(Plane *p, Relay *r, const Head *h, BodyStart *b, Target *to) noexcept nogil:
    cdef RequestScan *a = &r.x.scan.request
    cdef bint is_restricted = is_model_restricted(r)
    cdef int index
    scan_body(p, r, h, b)
    if b.is_all and b.len == 0:
        # A chunked body that is empty names nothing.
        return route_nameless(p, h)
    a.is_ambiguous |= is_restricted and not is_plain_json(b.at, b.len)
    if a.has_model and not request_scan_is_in_model(a):
        if is_restricted and not is_model_allowed(r, a):
            return refused(
                FAULT_KEY_MODEL if a.has_model == 1 and not a.is_ambiguous else FAULT_KEY_UNREAD
            )
        index = find_route(p, r, to)
        to.len = a.raw_len + 2
        # Servers differ in which of two models they take: none is renamed.
        if a.has_model > 1:
            to.route = NULL
        return index
    if not b.is_all and not a.is_done:
        return more(p, r, h, b)
    if is_restricted:
        return refused(FAULT_KEY_UNREAD)
    return refused(FAULT_BODY_CODE) if a.is_wide else route_nameless(p, h)


cdef int route_form(Plane *p, Relay *r, const Head *h, BodyStart *b, Target *to) noexcept nogil:
    cdef const Field *f = content_type(h)
    cdef const char *boundary = NULL
    cdef const char *value = NULL
    cdef size_t n = boundary_of(h.base + f.value_at, f.value_len, &boundary)
    cdef int found = FORM_ABSENT
    cdef bint is_restricted = is_model_restricted(r)
    to.boundary = boundary
    to.boundary_len = n
    if is_restricted and not is_plain_boundary(h.base + f.value_at, f.value_len):
        return refused(FAULT_KEY_UNREAD)
    if n:
        found = form_field(b.at, b.len, boundary, n, &value, &to.len)
    if found == FORM_FOUND:
        name_add(&r.x.model, value, to.len)
        to.at = <size_t>(value - b.at)
        if is_restricted and not key_allows(r.x.key, &r.x.model):
            return refused(FAULT_KEY_MODEL)
        return find_route(p, r, to)
    if found == FORM_MORE and not b.is_all:
        return more(p, r, h, b)
    if is_restricted:
        return refused(FAULT_KEY_UNREAD)
    return route_nameless(p, h)


cdef int route_request(
    Plane *p, Relay *r, const Head *h, BodyStart *b, Target *to,
) noexcept nogil:
    """A scan that has begun has the model's name, so only a first look clears it."""
    cdef bint is_restricted = is_model_restricted(r)
    cdef int index
    r.x.routes_at = 0
    memset(to, 0, sizeof(Target))
    if not r.x.scans_body:
        name_clear(&r.x.model)
        if h.upgrade == UPGRADE_WEBSOCKET:
            query_model(h, &r.x.model)
    if b.kind == BODY_OTHER and has_token_quota(r) and is_generating(r.x.path, r.x.path_len) \
            and is_coded(h):
        # Its bound of tokens, and its request for usage, cannot be read.
        return refused(FAULT_BODY_CODED)
    if p.n_routes == 0 and not is_restricted:
        return 0
    if b.kind == BODY_MORE:
        return more(p, r, h, b)
    if is_restricted and b.kind != BODY_JSON and b.kind != BODY_FORM \
            and (b.kind != BODY_NONE or h.upgrade == UPGRADE_WEBSOCKET):
        return refused(FAULT_KEY_UNREAD)
    if b.kind == BODY_NONE:
        return find_route(p, r, to) if query_model(h, &r.x.model) else route_nameless(p, h)
    if b.kind == BODY_OTHER:
        index = route_nameless(p, h)
        return refused(FAULT_BODY_CODED) if index < 0 and is_coded(h) else index
    if b.kind == BODY_FORM:
        open_body(p, r, h, b)
        return route_form(p, r, h, b, to)
    return route_json(p, r, h, b, to)
