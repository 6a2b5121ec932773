"""Authorization of a request: the address of its caller, the API key of its head, the key's quotas,
the models it allows.

Law 1. An exchange is authorized once. Later looks at the same head neither change its key nor
       charge the quota again, even after a reload.
Law 2. Nothing of a key is kept but the address of its slot.
Law 3. If a key allows some models only, a body whose model is doubtful is refused. Such are bodies
       neither JSON nor a form, two models in any case, and forms that servers may read in another
       way. Such are also bytes that a server might take for UTF-16, UTF-32 or a comment.
Law 4. If a key has a quota of tokens, a request that would prevent the count of its response is
       refused. The bound that a JSON body names is reserved for each choice before the body's end
       is passed on; without a bound, BOUND_UNREAD tokens are.
Law 5. A token (JWT) is looked up as a key is. One that is not known waits for Python's verdict in
       PHASE_PENDING, and is looked up again.
Tests: tests/relay/test_keys.py, tests/relay/test_key_models.py, tests/relay/test_key_forms.py,
tests/relay/test_key_bounds.py, tests/relay/test_tokens.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t

from zeroproxy._fast.exchange.path_kinds cimport generates, is_generating
from zeroproxy._fast.exchange.questions cimport question_ask
from zeroproxy._fast.exchange.response_usage cimport prompt_guess
from zeroproxy._fast.http1.cors_fields cimport is_preflight
from zeroproxy._fast.http1.grammar cimport Cursor, is_word
from zeroproxy._fast.jsonscan.edits cimport USAGE_REQUEST_NONE
from zeroproxy._fast.jsonscan.max_tokens_and_n cimport BOUND_UNREAD
from zeroproxy._fast.net.networks cimport networks_have
from zeroproxy._fast.request.certificate_key cimport certificate_key
from zeroproxy._fast.tenants.key_terms cimport term_fault
from zeroproxy._fast.tenants.keys_and_quotas cimport (
    key_allows,
    key_find,
    quota_raise,
    quota_reserve,
)
from zeroproxy._fast.tenants.token_table cimport is_token, is_well_formed, token_find, token_tag
from zeroproxy._fast.types.http cimport (
    FAULT_BODY_TOO_LARGE,
    FAULT_FIELDS,
    FAULT_KEY,
    FAULT_KEY_BYTES,
    FAULT_NETWORK,
    FAULT_NONE,
    FAULT_OPTIONS,
    FAULT_QUOTA_REQUESTS,
    FAULT_QUOTA_TOKENS,
    FAULT_SIGNED,
    FAULT_TOKEN,
    FAULT_TOKEN_UNREAD,
    FIELD_API_KEY,
    FIELD_AUTHORIZATION,
    FIELD_X_API_KEY,
    FRAMING_LENGTH,
    Field,
    Head,
    Span,
)
from zeroproxy._fast.types.key_and_quota cimport QUOTA_COUNT, QUOTA_REQUESTS, QUOTA_TOKENS, ApiKey
from zeroproxy._fast.types.key_terms cimport (
    TERMS_READ_MAX_TOKENS,
    TERMS_READ_N,
    TERMS_READ_SALT,
    KeyTerms,
)
from zeroproxy._fast.types.meter cimport RequestScan
from zeroproxy._fast.types.plane cimport Plane, Relay
from zeroproxy._fast.types.token cimport TAG, Token

cdef enum:
    SCHEME = 7              # bytes of "Bearer "


cdef Span bearer(const char *at, size_t len) noexcept nogil:
    """Token behind the scheme, whose case does not matter (RFC 9110 11.1)."""
    cdef Span s
    s.at = at
    s.len = 0
    if len > SCHEME and is_word(<Cursor>at, SCHEME, b"bearer ", SCHEME):
        at += SCHEME
        len -= SCHEME
        while len and at[0] == c' ':
            at += 1
            len -= 1
        s.at = at
        s.len = len
    return s


cdef Span key_of(const Head *h) noexcept nogil:
    """Key of the caller: a bearer token, else x-api-key (Anthropic), else api-key (Azure)."""
    cdef const Field *f
    cdef Span s, found
    cdef int i, rank = 0
    found.at = h.base
    found.len = 0
    for i in range(h.n_fields):
        f = &h.fields[i]
        if f.id == FIELD_AUTHORIZATION:
            s = bearer(h.base + f.value_at, f.value_len)
            if s.len:
                return s
        elif f.id == FIELD_X_API_KEY or (f.id == FIELD_API_KEY and rank == 0):
            rank = 1 + (f.id == FIELD_X_API_KEY)
            found.at = h.base + f.value_at
            found.len = f.value_len
    return found


cdef void limit_body(Relay *r) noexcept nogil:
    """The key's limit holds where it is below that of every body."""
    cdef uint64_t most = r.x.key.terms.prompt_bytes
    if most and (r.x.settings.body_bytes == 0 or most < r.x.settings.body_bytes):
        r.x.settings.body_bytes = most


cdef int fault_too_large(const Relay *r) noexcept nogil:
    if r.x.key != NULL and r.x.key.terms.prompt_bytes == r.x.settings.body_bytes:
        return FAULT_KEY_BYTES
    return FAULT_BODY_TOO_LARGE


cdef int find_by_token(Plane *p, Relay *r, Span shown, ApiKey **key) noexcept nogil:
    cdef uint8_t[TAG] tag
    cdef const Token *known
    if not is_well_formed(shown.at, shown.len):
        return FAULT_TOKEN
    token_tag(&p.tokens, shown.at, shown.len, tag)
    known = token_find(&p.tokens, tag, p.now_ns)
    if known != NULL:
        key[0] = known.key
        return FAULT_NONE if known.key != NULL else known.fault
    if r.x.verdict:
        return r.x.verdict
    return <int>FAULT_PENDING if question_ask(p, r, tag, shown.at, shown.len) \
        else <int>FAULT_TOKEN_UNREAD


cdef int find_key(Plane *p, Relay *r, Span shown, ApiKey **key) noexcept nogil:
    """The key that the caller shows, else that of its certificate. Fault: it has none."""
    if p.tokens.is_on and is_token(shown.at, shown.len):
        return find_by_token(p, r, shown, key)
    if shown.len == 0 and r.down.tls != NULL and p.keys.identity:
        key[0] = certificate_key(&p.keys, &r.down)
    else:
        key[0] = key_find(&p.keys, shown.at, shown.len)
    if key[0] != NULL:
        return FAULT_NONE
    p.keys.n_unknown += 1
    return FAULT_KEY


cdef int authorize(Plane *p, Relay *r, const Head *h) noexcept nogil:
    """A head that passes is charged to its key's quota of requests. A preflight without a key
    passes without a tenant, since a server answers it without work."""
    cdef Span shown
    cdef ApiKey *key = NULL
    cdef int which, fault
    if r.is_barred:
        return FAULT_NETWORK
    if not p.keys.is_on or r.x.key != NULL:
        return FAULT_NONE
    shown = key_of(h)
    if shown.len == 0 and is_preflight(h):
        return FAULT_NONE
    fault = find_key(p, r, shown, &key)
    if fault != FAULT_NONE:
        return fault
    if key.allowed.n and not networks_have(&key.allowed, &r.address):
        return FAULT_NETWORK
    r.x.key = key
    r.x.tenant = key.tenant
    r.x.priority = key.priority
    fault = term_fault(key, r.x.began_wall_ns)
    if fault != FAULT_NONE:
        return fault
    limit_body(r)
    which = quota_reserve(
        &p.keys, key, h.length if h.framing == FRAMING_LENGTH else 0, p.now_ns, &r.x.reserved
    )
    if which == QUOTA_COUNT:
        return FAULT_NONE
    return FAULT_QUOTA_REQUESTS if which == QUOTA_REQUESTS else FAULT_QUOTA_TOKENS


cdef bint has_token_quota(const Relay *r) noexcept nogil:
    return r.x.key != NULL and r.x.key.quotas[<int>QUOTA_TOKENS].rate != 0


cdef int terms_to_read(const Plane *p, const Relay *r) noexcept nogil:
    cdef const KeyTerms *t
    cdef int found = 0
    if r.x.key == NULL:
        return 0
    t = &r.x.key.terms
    if t.max_tokens or t.max_tokens_default or t.caps_to_model:
        found = TERMS_READ_MAX_TOKENS
    if t.n:
        found |= TERMS_READ_N
    if p.keys.reads_salts and r.x.key.has_salts:
        found |= TERMS_READ_SALT
    return found


cdef bint is_capped(const Relay *r) noexcept nogil:
    return r.x.key != NULL and (
        r.x.key.terms.max_tokens or r.x.key.terms.caps_to_model or r.x.key.terms.n
    )


cdef int judge_body(Plane *p, Relay *r) noexcept nogil:
    """A body that names no bound is free where nothing is generated."""
    cdef const RequestScan *a = &r.x.scan.request
    cdef bint is_text = is_generating(r.x.path, r.x.path_len)
    cdef uint64_t text = a.bound
    if a.bound == 0:
        if not is_text and not generates(r.x.path, r.x.path_len):
            return FAULT_NONE
        text = <int>BOUND_UNREAD if is_text else 0
    if a.hides_counts:
        return FAULT_FIELDS
    if a.is_stream and a.is_signed and not a.has_usage:
        return FAULT_SIGNED
    if a.is_stream and a.edits_forbidden and (a.is_signed or a.usage_request != USAGE_REQUEST_NONE):
        return FAULT_OPTIONS
    text = text * max(a.n, 1) + <uint64_t>prompt_guess(max(r.x.bytes_in, a.n_read))
    if quota_raise(r.x.key, text, p.now_ns, &r.x.reserved):
        return FAULT_NONE
    return FAULT_QUOTA_TOKENS


cdef bint is_model_restricted(const Relay *r) noexcept nogil:
    return r.x.key != NULL and r.x.key.n_models != 0


cdef bint is_model_allowed(const Relay *r, const RequestScan *a) noexcept nogil:
    return a.has_model == 1 and not a.is_ambiguous and not a.is_wide \
        and key_allows(r.x.key, &r.x.model)


cdef bint is_plain_json(const char *at, size_t n) noexcept nogil:
    """Python's json.loads detects UTF-16 and UTF-32 by such bytes."""
    cdef size_t k
    for k in range(n if n < 4 else 4):
        if at[k] == 0 or <unsigned char>at[k] >= 0xFE:
            return 0
    return 1
