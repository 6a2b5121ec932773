"""Request heads: parsed, authorized, routed, and composed for their upstream.

Law 1. A good head is composed, but not yet submitted, so that body bytes behind it leave with it in
       one send.
Law 2. A refused request gets an answer, and no byte behind it on the conn is parsed. The exception
       is a body that is here as a whole, refused by the surface or for a term of its key.
Tests: tests/relay/test_life.py, tests/relay/test_endings.py, tests/relay/test_surface.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, memmove

from zeroproxy._fast.exchange.actions cimport end_with, feed
from zeroproxy._fast.exchange.error_body cimport dialect_of
from zeroproxy._fast.exchange.exchange_ids cimport make_request_id
from zeroproxy._fast.exchange.keepalive cimport choose_keepalive
from zeroproxy._fast.exchange.sdk_fields cimport read_sdk_fields
from zeroproxy._fast.http1.body cimport body_begin
from zeroproxy._fast.http1.cors_fields cimport is_preflight
from zeroproxy._fast.http1.field_lines cimport find_request_id
from zeroproxy._fast.http1.grammar cimport hex_of
from zeroproxy._fast.http1.head_parser cimport parse_request_head
from zeroproxy._fast.request.affinity cimport find_affinity
from zeroproxy._fast.request.authorization cimport (
    FAULT_PENDING,
    authorize,
    fault_too_large,
    terms_to_read,
)
from zeroproxy._fast.request.body_edits cimport begin_editing, usage_request_for
from zeroproxy._fast.request.body_terms cimport fault_of_kind
from zeroproxy._fast.request.compose_head cimport compose_request
from zeroproxy._fast.request.cors cimport judge_origin
from zeroproxy._fast.request.routing cimport (
    BODY_MORE,
    BODY_OTHER,
    ROUTE_MORE,
    BodyStart,
    Target,
    end_of_body,
    is_coded,
    peek_body,
    route_request,
    wait_for_body,
)
from zeroproxy._fast.request.surface cimport judge_path, judge_routed_path, refuses_members
from zeroproxy._fast.tenants.key_terms cimport count_term, key_allows_upstream
from zeroproxy._fast.types.clock cimport clock_wall_ns
from zeroproxy._fast.types.exchange_enums cimport (
    BLAME_DOWNSTREAM,
    BLAME_OURSELVES,
    CAUSE_MALFORMED,
    CAUSE_NETWORK,
    CAUSE_NO_ENDPOINT,
    CAUSE_REFUSED,
    CAUSE_SURFACE,
    CAUSE_TOKEN,
    CAUSE_TOO_LARGE,
    IN_BYTES,
    IN_QUESTION,
    IN_REFUSED,
    IN_REQUEST,
    LOCAL_REPLY_MODELS,
    LOCAL_REPLY_OPTIONS,
    LOCAL_REPLY_PREFLIGHT,
    PHASE_HEAD,
    PHASE_IDLE,
)
from zeroproxy._fast.types.http cimport (
    FAULT_BODY_CODED,
    FAULT_BODY_TOO_LARGE,
    FAULT_FIELDS,
    FAULT_HEAD_TOO_LARGE,
    FAULT_KEY,
    FAULT_KEY_BYTES,
    FAULT_KEY_DISABLED,
    FAULT_KEY_MODEL,
    FAULT_KEY_N,
    FAULT_KEY_UNREAD,
    FAULT_KEY_UPSTREAM,
    FAULT_LINE_TOO_LONG,
    FAULT_MEMBER,
    FAULT_METHOD_REFUSED,
    FAULT_MODEL,
    FAULT_MODEL_LATE,
    FAULT_MODEL_NONE,
    FAULT_NETWORK,
    FAULT_NONE,
    FAULT_OPTIONS,
    FAULT_PATH,
    FAULT_PATH_METHOD,
    FAULT_QUOTA_REQUESTS,
    FAULT_QUOTA_TOKENS,
    FAULT_SIGNED,
    FAULT_TOKEN,
    FAULT_TOKEN_TIME,
    FAULT_TOKEN_UNREAD,
    FAULT_TOO_MANY_FIELDS,
    FRAMING_LENGTH,
    METHOD_GET,
    METHOD_POST,
    VERDICT_BAD,
    VERDICT_MORE,
    Head,
    Span,
    Verdict,
)
from zeroproxy._fast.types.plane cimport Plane, Relay, Upstream

cdef uint64_t LENGTH_MOST = 1ULL << 62


cdef void refuse(Plane *p, Relay *r, int fault) noexcept nogil:
    cdef int cause = CAUSE_MALFORMED
    if fault in (
        FAULT_BODY_CODED, FAULT_FIELDS, FAULT_KEY, FAULT_KEY_MODEL, FAULT_KEY_UNREAD,
        FAULT_METHOD_REFUSED, FAULT_MODEL, FAULT_MODEL_LATE, FAULT_MODEL_NONE, FAULT_OPTIONS,
        FAULT_QUOTA_REQUESTS, FAULT_QUOTA_TOKENS, FAULT_SIGNED
    ):
        cause = CAUSE_REFUSED
    elif fault == FAULT_NETWORK:
        cause = CAUSE_NETWORK
    elif fault in (FAULT_TOKEN, FAULT_TOKEN_TIME, FAULT_TOKEN_UNREAD):
        cause = CAUSE_TOKEN
    elif fault in (
        FAULT_BODY_TOO_LARGE, FAULT_HEAD_TOO_LARGE, FAULT_LINE_TOO_LONG, FAULT_TOO_MANY_FIELDS
    ) or fault == FAULT_KEY_BYTES:
        cause = CAUSE_TOO_LARGE
    elif fault in (FAULT_MEMBER, FAULT_PATH, FAULT_PATH_METHOD):
        cause = CAUSE_SURFACE
    elif fault >= FAULT_KEY_DISABLED:
        cause = CAUSE_REFUSED
    count_term(r.x.key, fault)
    r.x.fault = <unsigned char>fault
    # Refused by the surface or for a term of the key, a body that was read leaves the conn at the
    # next request.
    if not r.x.request_body.done or (fault < FAULT_KEY_N and cause != CAUSE_SURFACE):
        r.x.asks_close = 1
    end_with(
        p, r, IN_REFUSED,
        BLAME_OURSELVES if fault == FAULT_TOKEN_UNREAD else BLAME_DOWNSTREAM, cause,
    )


cdef size_t plain_char(const char *at, size_t n, char *c) noexcept nogil:
    """One character of a path, decoded if it is unreserved (RFC 3986 2.3) or a slash, since servers
    decode a path before they route. Returns the bytes it had."""
    cdef int code
    c[0] = at[0]
    if at[0] != c'%' or n < 3 or hex_of(at[1]) < 0 or hex_of(at[2]) < 0:
        return 1
    code = hex_of(at[1]) << 4 | hex_of(at[2])
    if not (
        c'a' <= code <= c'z' or c'A' <= code <= c'Z' or c'-' <= code <= c'9' or code == c'_'
        or code == c'~'
    ):
        return 1
    c[0] = <char>code
    return 3


cdef void adopt_path(Relay *r, const char *at, size_t n) noexcept nogil:
    """Keep the path; of a long one its end, which names the API."""
    cdef size_t k = 0, written = 0, most = sizeof(r.x.path)
    cdef char c
    if memchr(at, c'%', n) == NULL:
        r.x.path_len = <unsigned char>(n if n < most else most)
        memcpy(r.x.path, at + n - r.x.path_len, r.x.path_len)
        return
    while k < n:
        k += plain_char(at + k, n - k, &c)
        if written == most:
            memmove(r.x.path, r.x.path + 1, most - 1)
            written -= 1
        r.x.path[written] = c
        written += 1
    r.x.path_len = <unsigned char>written


cdef void remember_head(Plane *p, Relay *r, const Head *h) noexcept nogil:
    """Copy the parts of a head that the exchange needs later."""
    cdef Span id = find_request_id(h)
    cdef const char *path = h.base + h.target_at
    cdef size_t n = h.target_len
    cdef const char *query = <const char *>memchr(path, c'?', n)
    if query != NULL:
        n = <size_t>(query - path)
    r.x.method = h.method
    r.x.minor = h.minor
    r.x.asks_close = h.asks_close
    r.x.upgrade = h.upgrade
    r.x.owes_continue = h.asks_continue and not r.x.sent_100
    r.x.replayable = 1
    adopt_path(r, path, n)
    if n > sizeof(r.x.path):
        r.x.dialect = <unsigned char>dialect_of(path, n)
    else:
        r.x.dialect = <unsigned char>dialect_of(r.x.path, r.x.path_len)
    if 0 < id.len <= sizeof(r.x.request_id):
        r.x.id_len = <unsigned char>id.len
        memcpy(r.x.request_id, id.at, id.len)
    body_begin(&r.x.request_body, h.framing, h.length)


cdef void freeze_settings(const Plane *p, Relay *r) noexcept nogil:
    r.x.settings.body_bytes = p.limits.body_bytes
    r.x.settings.body_ns = p.limits.body_ns
    r.x.settings.body_rate = p.limits.body_rate
    r.x.settings.stall_ns = p.limits.stall_ns
    r.x.settings.tunnel_ns = p.limits.tunnel_ns
    r.x.settings.extra_bytes = p.limits.extra_bytes
    r.x.settings.interims = p.limits.interims
    r.x.settings.serves_half_close = p.serves_half_close
    if p.cors != NULL:
        r.x.cors = &p.cors.others
    r.x.surface.held = p.surface


cdef void choose_upstream(Plane *p, Relay *r, int index) noexcept nogil:
    """Adopt an upstream and its timeouts; a reload does not change them for this exchange."""
    cdef Upstream *u = p.upstreams[index]
    r.x.upstream = u
    r.x.settings.queue_ns = u.queue_ns
    r.x.settings.connect_ns = u.connect_ns
    r.x.settings.first_byte_ns = u.first_byte_ns
    r.x.settings.stream_idle_ns = u.stream_idle_ns
    r.x.settings.total_ns = u.total_ns
    r.x.settings.hedge_ns = u.hedge_ns
    r.x.settings.max_attempts = u.max_attempts
    r.x.settings.retry_on_busy = u.retry_on_busy
    r.x.waiting.hold_ns = 0 if p.draining else u.admission.hold_ns


cdef bint is_nowhere(const Plane *p, const Upstream *u) noexcept nogil:
    """True if its names have no address, and nobody waits for one."""
    return u.n_endpoints == 0 and (u.admission.hold_ns == 0 or p.draining)


cdef void begin_exchange(Plane *p, Relay *r) noexcept nogil:
    if r.x.phase == PHASE_IDLE:
        r.x.began_ns = p.now_ns
        r.x.began_wall_ns = clock_wall_ns()
        freeze_settings(p, r)
        r.x.id_len = <unsigned char>make_request_id(p, r.x.request_id)
        feed(p, r, IN_BYTES)


cdef bint is_models_request(const Plane *p, const Relay *r) noexcept nogil:
    """True for the list of models, if several upstreams contribute to it."""
    return p.models != NULL and r.x.method == METHOD_GET and r.x.path_len == 10 \
        and memcmp(r.x.path, b"/v1/models", 10) == 0 and r.x.request_body.done


cdef void compose(
    Plane *p, Relay *r, Head *h, size_t here, const BodyStart *body, const Target *target,
) noexcept nogil:
    cdef int fault = fault_of_kind(p, r, body)
    if fault == FAULT_NONE:
        begin_editing(p, r, h, here, body, target)
        r.x.is_composed = compose_request(p, r, h)
        r.x.request_read_ns = p.now_ns
        fault = FAULT_NONE if r.x.is_composed else <int>FAULT_HEAD_TOO_LARGE
    if fault != FAULT_NONE:
        refuse(p, r, fault)


cdef int judge_routed(Relay *r, Head *h, int to, const BodyStart *body) noexcept nogil:
    """`to`, or ROUTE_MORE - fault if its upstream does not take the request."""
    cdef int fault = judge_routed_path(r, h, to)
    if fault == FAULT_NONE and body.kind == BODY_OTHER and h.method == METHOD_POST \
            and refuses_members(r, to) and is_coded(h):
        fault = FAULT_BODY_CODED
    return to if fault == FAULT_NONE else ROUTE_MORE - fault


cdef bint route_and_compose(Plane *p, Relay *r, Head *h, size_t here) noexcept nogil:
    """Compose the request for its upstream, or refuse it. False: wait for more of the body, for
    the model, the affinity, or the first byte."""
    cdef BodyStart body
    cdef Target target
    cdef int to
    cdef bint is_decided
    peek_body(p, r, h, here, &body)
    to = route_request(p, r, h, &body, &target)
    is_decided = to != ROUTE_MORE
    if p.keepalive_ns:
        choose_keepalive(p, r, h)
    if to >= 0 and p.n_upstreams:
        is_decided = find_affinity(p, r, p.upstreams[to], h, &body)
        if is_decided and body.kind == BODY_MORE and (
            r.x.keepalive.after_ns or usage_request_for(p.upstreams[to], r)
            or terms_to_read(p, r) or refuses_members(r, to)
        ):
            # The first byte decides if usage may be requested, and if the body is read.
            wait_for_body(p, r, h, &body)
            is_decided = 0
    if not is_decided:
        r.x.waits_for_more = 1
        r.x.request_read_ns = p.now_ns
        return 0
    if to >= 0:
        to = judge_routed(r, h, to, &body)
    if to < 0:
        refuse(p, r, ROUTE_MORE - to)
    elif p.n_upstreams == 0 or is_nowhere(p, p.upstreams[to]):
        end_with(p, r, IN_REFUSED, BLAME_OURSELVES, CAUSE_NO_ENDPOINT)
    elif r.x.key != NULL and not key_allows_upstream(r.x.key, <uint32_t>to):
        refuse(p, r, FAULT_KEY_UPSTREAM)
    else:
        choose_upstream(p, r, to)
        read_sdk_fields(r, h)
        compose(p, r, h, here, &body, &target)
    return 1


cdef void reply_locally(Plane *p, Relay *r, int reply) noexcept nogil:
    r.x.local_reply = <unsigned char>reply
    feed(p, r, IN_REFUSED)


cdef uint64_t body_most(const Relay *r) noexcept nogil:
    """Longest body. Without a limit, lengths still leave space for edits, here and in the
    server."""
    return r.x.settings.body_bytes if r.x.settings.body_bytes else LENGTH_MOST


cdef bint is_cors_preflight(const Plane *p, Relay *r, Head *h) noexcept nogil:
    if p.cors == NULL:
        return 0
    judge_origin(p, r, h)
    return is_preflight(h) and not r.is_barred


cdef void ask(Plane *p, Relay *r) noexcept nogil:
    r.x.waits_for_more = 1
    r.x.request_read_ns = p.now_ns
    feed(p, r, IN_QUESTION)


cdef size_t take_head(Plane *p, Relay *r, const char *at, size_t len) noexcept nogil:
    cdef Head *h = &p.request_head
    cdef Verdict v
    cdef int fault
    cdef size_t behind
    begin_exchange(p, r)
    v = parse_request_head(at, len, &p.limits.request, h)
    r.x.waits_for_more = v == VERDICT_MORE
    if v == VERDICT_MORE:
        return 0
    if v == VERDICT_BAD:
        # The caller's method decides whether the answer may carry a body.
        r.x.method = h.method
        refuse(p, r, h.fault)
        return len
    remember_head(p, r, h)
    if is_cors_preflight(p, r, h):
        reply_locally(p, r, LOCAL_REPLY_PREFLIGHT)
        return h.consumed
    fault = authorize(p, r, h)
    if fault == FAULT_PENDING:
        ask(p, r)
        return 0
    if fault != FAULT_NONE:
        refuse(p, r, fault)
        return h.consumed
    fault = judge_path(p, r, h)
    if fault != FAULT_NONE:
        behind = end_of_body(p, r, h, len - h.consumed)
        refuse(p, r, fault)
        return h.consumed + behind
    if h.framing == FRAMING_LENGTH and h.length > body_most(r):
        refuse(p, r, fault_too_large(r))
    elif h.max_forwards == 0:
        reply_locally(p, r, LOCAL_REPLY_OPTIONS)
    elif is_models_request(p, r):
        reply_locally(p, r, LOCAL_REPLY_MODELS)
    elif not route_and_compose(p, r, h, len - h.consumed):
        return 0
    return h.consumed


cdef void submit_request(Plane *p, Relay *r) noexcept nogil:
    if r.x.is_composed and r.x.phase == PHASE_HEAD:
        r.x.is_composed = 0
        r.x.request_read_ns = p.now_ns
        feed(p, r, IN_REQUEST)
