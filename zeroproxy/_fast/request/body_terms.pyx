"""Terms of a key on a request's body: looked for, applied, or the reason of a refusal.

Law 1. A body in which a term has to be looked for and cannot be is refused. Such are bodies that
       are no JSON object, coded, or spelt so that servers read them in several ways. A form
       passes: none of these servers takes such a bound from a form.
Law 2. A bound above the cap is lowered where it stands. Digits of a number that may still go on
       wait in Exchange.terms.held, so that no split lets a larger number through.
Law 3. A path of a BoundFamily never reaches a server without a bound, where the key has a cap.
Tests: tests/relay/test_key_bodies.py, tests/relay/test_key_splits.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from zeroproxy._fast.exchange.error_body cimport (
    DIALECT_ANTHROPIC,
    DIALECT_OLLAMA,
    DIALECT_RESPONSES,
    DIALECT_WORKER,
)
from zeroproxy._fast.exchange.path_kinds cimport ends_with, generates, is_generating
from zeroproxy._fast.jsonscan.terms_edits cimport write_lowered
from zeroproxy._fast.request.authorization cimport is_capped, terms_to_read
from zeroproxy._fast.request.routing cimport BODY_OTHER, BodyStart
from zeroproxy._fast.types.http cimport (
    FAULT_CACHE_SALT,
    FAULT_KEY_BODY,
    FAULT_KEY_MAX_TOKENS,
    FAULT_KEY_N,
    FAULT_NONE,
    UPGRADE_WEBSOCKET,
)
from zeroproxy._fast.types.key_terms cimport (
    BOUND_DIGITS,
    BOUND_FAMILY_CHAT,
    BOUND_FAMILY_COMPLETIONS,
    BOUND_FAMILY_LLAMA,
    BOUND_FAMILY_NONE,
    BOUND_FAMILY_OLLAMA,
    BOUND_FAMILY_RESPONSES,
    BOUND_FAMILY_TGI,
    BOUND_FAMILY_VLLM_GENERATE,
    BOUND_FAMILY_WORKER,
    SALT_BY_NONE,
    TERMS_READ_MAX_TOKENS,
    TERMS_READ_N,
    TERMS_READ_SALT,
    BoundPlace,
    KeyTerms,
    TermsScan,
)
from zeroproxy._fast.types.meter cimport AMBIGUOUS_TEXT, RequestScan
from zeroproxy._fast.types.plane cimport Plane, Relay, Upstream


cdef int family_of(const Relay *r) noexcept nogil:
    """BoundFamily of the path."""
    cdef const char *at = <const char *>r.x.path
    cdef size_t n = r.x.path_len
    if ends_with(at, n, b"/chat/completions", 17) or ends_with(at, n, b"/completions/batch", 18):
        return BOUND_FAMILY_CHAT
    if r.x.dialect == DIALECT_WORKER and not ends_with(at, n, b"/worker_get_embeddings", 22):
        return BOUND_FAMILY_WORKER
    if ends_with(at, n, b"/infill", 7) or ends_with(at, n, b"/completion", 11):
        return BOUND_FAMILY_LLAMA
    if n == 1:
        return BOUND_FAMILY_TGI
    if not is_generating(at, n):
        return BOUND_FAMILY_NONE
    if r.x.dialect == DIALECT_OLLAMA:
        return BOUND_FAMILY_OLLAMA
    if r.x.dialect == DIALECT_RESPONSES:
        return BOUND_FAMILY_RESPONSES
    if r.x.dialect == DIALECT_ANTHROPIC or ends_with(at, n, b"/completions", 12) \
            or ends_with(at, n, b"/invocations", 12):
        return BOUND_FAMILY_COMPLETIONS
    if ends_with(at, n, b"/inference/v1/generate", 22):
        return BOUND_FAMILY_VLLM_GENERATE
    if ends_with(at, n, b"/generate", 9) or ends_with(at, n, b"/generate_stream", 16):
        return BOUND_FAMILY_TGI
    return BOUND_FAMILY_NONE


cdef uint32_t longest_model(const Upstream *u) noexcept nogil:
    """Tokens that every endpoint's model holds; 0: not known."""
    cdef uint32_t found = 0, i
    for i in range(u.n_endpoints):
        if u.endpoints[i].model_len and (found == 0 or u.endpoints[i].model_len < found):
            found = u.endpoints[i].model_len
    return found


cdef void begin_terms(Relay *r) noexcept nogil:
    cdef const KeyTerms *k
    cdef TermsScan *t = &r.x.scan.request.of_kind.terms
    if t.reads == 0:
        return
    k = &r.x.key.terms
    t.cap = longest_model(r.x.upstream) if k.caps_to_model else k.max_tokens
    t.inserts = k.max_tokens_default if k.max_tokens_default else t.cap
    if t.cap and t.inserts > t.cap:
        t.inserts = t.cap
    if t.inserts:
        t.family = <uint8_t>family_of(r)
    if t.reads & TERMS_READ_SALT and r.x.upstream.terms.salt_by != SALT_BY_NONE \
            and generates(r.x.path, r.x.path_len):
        t.salt = r.x.key.salts[r.x.upstream.terms.salt_by]


cdef int fault_of_kind(const Plane *p, const Relay *r, const BodyStart *b) noexcept nogil:
    cdef int reads = terms_to_read(p, r)
    if r.x.upstream.terms.salt_by == SALT_BY_NONE:
        reads &= ~TERMS_READ_SALT
    if not is_capped(r) and not reads & TERMS_READ_SALT:
        return FAULT_NONE
    if r.x.upgrade == UPGRADE_WEBSOCKET:
        return FAULT_KEY_BODY
    if b.kind == BODY_OTHER and (
        generates(r.x.path, r.x.path_len) or r.x.path_len == 1
    ):
        return FAULT_KEY_BODY
    return FAULT_NONE


cdef int judge_terms(const Relay *r) noexcept nogil:
    cdef const RequestScan *a = &r.x.scan.request
    cdef const TermsScan *t = &a.of_kind.terms
    cdef uint32_t n = r.x.key.terms.n
    if t.salt != NULL and t.has_salt:
        return FAULT_CACHE_SALT
    if n and (t.n_most > n or t.is_odd & TERMS_READ_N):
        return FAULT_KEY_N
    if t.cap and t.is_odd & TERMS_READ_MAX_TOKENS:
        return FAULT_KEY_MAX_TOKENS
    if (t.cap or n or t.salt != NULL) and (
        a.is_ambiguous & AMBIGUOUS_TEXT or t.is_odd & TERMS_READ_SALT
        or (a.is_done and not t.has_root and a.n_read and generates(r.x.path, r.x.path_len))
    ):
        return FAULT_KEY_BODY
    return FAULT_NONE


cdef void lower(
    Relay *r, const BoundPlace *it, char *data, uint64_t begin, uint64_t end
) noexcept nogil:
    """Write the cap over the part of a number that is in [begin, end), and over digits held."""
    cdef char[2 * BOUND_DIGITS] text
    cdef uint64_t first = max(it.at, begin), last = min(it.at + it.len, end)
    write_lowered(text, r.x.scan.request.of_kind.terms.cap, it.len)
    if it.at < begin:
        memcpy(r.x.terms.held, text, r.x.terms.n_held)
    if last > first:
        memcpy(data + (first - begin), text + (first - it.at), last - first)


cdef void lower_bounds(Relay *r, char *data, size_t n) noexcept nogil:
    cdef TermsScan *t = &r.x.scan.request.of_kind.terms
    cdef uint64_t end = r.x.bytes_in, begin = end - n
    cdef const BoundPlace *it
    while t.n_lowered < t.n_bounds:
        it = &t.bounds[t.n_lowered]
        if it.at >= end:
            return
        if t.cap and it.value > t.cap:
            lower(r, it, data, begin, end)
        if it.at + it.len > end:
            return
        t.n_lowered += 1


cdef bint is_held_number_open(const Relay *r, uint64_t begin) noexcept nogil:
    cdef const TermsScan *t = &r.x.scan.request.of_kind.terms
    return r.x.scans_body and t.in_number and t.number_at < begin


cdef size_t hold_digits(Relay *r, const char *data, size_t n) noexcept nogil:
    cdef const TermsScan *t = &r.x.scan.request.of_kind.terms
    cdef uint64_t begin = r.x.bytes_in - n
    cdef size_t k
    if t.cap == 0 or not t.in_number or t.number_at >= r.x.bytes_in:
        return 0
    k = <size_t>(r.x.bytes_in - max(t.number_at, begin))
    if r.x.terms.n_held + k > BOUND_DIGITS:
        # No such number is plain, however it ends.
        r.x.fault = FAULT_KEY_MAX_TOKENS
        return 0
    memcpy(r.x.terms.held + r.x.terms.n_held, data + (n - k), k)
    r.x.terms.n_held += <uint8_t>k
    return k
