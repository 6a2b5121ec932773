"""Affinity of a request: by it, consistent_hash sends requests that belong together to one
endpoint.

Law 1. Nothing is read for any other policy, nor for an upstream with one endpoint.
Law 2. A request whose affinity is in its body waits in the in-buffer, as for its model
       (routing.pyx). The wait ends once the affinity is read, the body has ended, or LOOK_MAX bytes
       are there. Anything further on counts as absent.
Law 3. Raw bytes are hashed, the same in every split: the inside of a user's string, the first bytes
       of a prompt's JSON. Two spellings of one text differ.
Tests: tests/relay/test_balance.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

from zeroproxy._fast.http1.grammar cimport Cursor, is_word
from zeroproxy._fast.request.affinity cimport AFFINITY_ABSENT, AFFINITY_FOUND, AFFINITY_MORE
from zeroproxy._fast.request.routing cimport (
    BODY_JSON,
    BODY_MORE,
    BodyStart,
    scan_body,
    wait_for_body,
)
from zeroproxy._fast.types.affinity_and_latency cimport (
    BALANCE_CONSISTENT_HASH,
    HASH_SOURCE_HEADER,
    HASH_SOURCE_USER,
    HashPart,
    HashSettings,
)
from zeroproxy._fast.types.http cimport Field, Head
from zeroproxy._fast.types.meter cimport RequestScan
from zeroproxy._fast.types.plane cimport Plane, Relay, Upstream


cdef extern from "hash.h" nogil:
    uint64_t zp_hash(const void *at, size_t len)


cdef uint64_t affinity_hash(const char *at, size_t len) noexcept nogil:
    cdef uint64_t h = zp_hash(at, len)
    return h if h else 1


cdef int affinity_of_user(
    const RequestScan *a, const char *body, bint is_all, uint64_t *found,
) noexcept nogil:
    if a.user_end:
        found[0] = affinity_hash(body + a.user_at, <size_t>(a.user_end - a.user_at))
        return AFFINITY_FOUND
    return AFFINITY_ABSENT if is_all or a.is_done else <int>AFFINITY_MORE


cdef int affinity_of_prompt(
    const RequestScan *a, const char *body, bint is_all, uint32_t prefix, uint64_t *found,
) noexcept nogil:
    cdef uint64_t n = (a.prompt_end if a.prompt_end else a.n_read) - a.prompt_at
    if a.prompt_at == 0:
        return AFFINITY_ABSENT if is_all or a.is_done else <int>AFFINITY_MORE
    if not is_all and a.prompt_end == 0 and n < prefix:
        return AFFINITY_MORE
    found[0] = affinity_hash(body + a.prompt_at, <size_t>min(n, <uint64_t>prefix))
    return AFFINITY_FOUND


cdef uint64_t affinity_of_header(const Head *h, const HashPart *part) noexcept nogil:
    """Hash of the field of this name; 0: absent or empty."""
    cdef const Field *f
    cdef int i
    for i in range(h.n_fields):
        f = &h.fields[i]
        if f.value_len and not f.nominated \
                and is_word(<Cursor>h.base + f.name_at, f.name_len, part.name, part.len):
            return affinity_hash(h.base + f.value_at, f.value_len)
    return 0


cdef int affinity_in_body(
    Plane *p, Relay *r, const Upstream *u, const Head *h, BodyStart *b, bint is_user,
) noexcept nogil:
    """AffinityState; sets r.x.affinity if it is found."""
    cdef bint is_all
    if b.kind != BODY_JSON:
        return AFFINITY_MORE if b.kind == BODY_MORE else <int>AFFINITY_ABSENT
    scan_body(p, r, h, b)
    is_all = b.is_all or b.is_full
    if is_user:
        return affinity_of_user(&r.x.scan.request, b.at, is_all, &r.x.affinity)
    return affinity_of_prompt(&r.x.scan.request, b.at, is_all, u.hash.prefix_bytes, &r.x.affinity)


cdef bint find_affinity(
    Plane *p, Relay *r, const Upstream *u, const Head *h, BodyStart *b,
) noexcept nogil:
    """The first source that is found counts."""
    cdef const HashSettings *t = &u.hash
    cdef int i, state
    r.x.affinity = 0
    if u.balance != BALANCE_CONSISTENT_HASH or u.n_endpoints < 2:
        return 1
    for i in range(t.n):
        if t.parts[i].source == HASH_SOURCE_HEADER:
            r.x.affinity = affinity_of_header(h, &t.parts[i])
            state = AFFINITY_FOUND if r.x.affinity else <int>AFFINITY_ABSENT
        else:
            state = affinity_in_body(p, r, u, h, b, t.parts[i].source == HASH_SOURCE_USER)
        if state == AFFINITY_MORE:
            wait_for_body(p, r, h, b)
            return 0
        if state == AFFINITY_FOUND:
            return 1
    return 1
