"""The key of a request, by which consistent_hash sends what belongs together to one endpoint.

Law 1. Nothing is looked at for any other policy, nor where there is no choice.
Law 2. A request whose key stands in its body waits in the in-buffer until it has been read, the
       body has ended, or LOOK_MAX bytes have gone by, as it does for its model (routing.pyx). What
       is not in there is not there.
"""

from libc.stdint cimport uint64_t

from zeroproxy._fast.http1.grammar cimport Cursor, is_word
from zeroproxy._fast.jsonscan.affinity_scan cimport (
    AFFINITY_ABSENT,
    AFFINITY_FOUND,
    AFFINITY_MORE,
    AffinityScan,
    affinity_scan_read,
    key_of,
)
from zeroproxy._fast.request.routing cimport (
    BODY_JSON,
    BODY_MORE,
    BodyStart,
    open_body,
    wait_for_body,
)
from zeroproxy._fast.types.balance cimport (
    BALANCE_CONSISTENT_HASH,
    HASH_SOURCE_HEADER,
    HASH_SOURCE_USER,
    HashPart,
    HashSettings,
)
from zeroproxy._fast.types.http cimport Field, Head
from zeroproxy._fast.types.plane cimport Plane, Relay, Upstream


cdef uint64_t key_of_header(const Head *h, const HashPart *part) noexcept nogil:
    """0: it is not there, or empty."""
    cdef const Field *f
    cdef int i
    for i in range(h.n_fields):
        f = &h.fields[i]
        if f.value_len and not f.nominated \
                and is_word(<Cursor>h.base + f.name_at, f.name_len, part.name, part.len):
            return key_of(h.base + f.value_at, f.value_len)
    return 0


cdef void read_body(
    Plane *p, Relay *r, const Upstream *u, const Head *h, AffinityScan *k, BodyStart *b,
) noexcept nogil:
    k.user = k.prompt = AFFINITY_MORE if b.kind == BODY_MORE else <int>AFFINITY_ABSENT
    if b.kind == BODY_JSON:
        open_body(p, r, h, b)
        affinity_scan_read(k, b.at, b.len, b.is_all or b.is_full, u.hash.prefix_bytes)


cdef bint find_affinity(
    Plane *p, Relay *r, const Upstream *u, const Head *h, BodyStart *b,
) noexcept nogil:
    """Find r's key; it has none if nothing is found. 0: what would be it is still to come."""
    cdef const HashSettings *t = &u.hash
    cdef AffinityScan k
    cdef bint is_user, has_read = 0
    cdef int i, state
    r.x.affinity = 0
    if u.balance != BALANCE_CONSISTENT_HASH or u.n_endpoints < 2:
        return 1
    for i in range(t.n):
        if t.parts[i].source == HASH_SOURCE_HEADER:
            r.x.affinity = key_of_header(h, &t.parts[i])
            if r.x.affinity:
                return 1
            continue
        if not has_read:
            read_body(p, r, u, h, &k, b)
            has_read = 1
        is_user = t.parts[i].source == HASH_SOURCE_USER
        state = k.user if is_user else k.prompt
        if state == AFFINITY_MORE:
            wait_for_body(p, r, h, b)
            return 0
        if state == AFFINITY_FOUND:
            r.x.affinity = k.user_hash if is_user else k.prompt_hash
            return 1
    return 1
