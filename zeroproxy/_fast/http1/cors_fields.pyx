"""Fields by which browsers and servers agree on pages of other origins (Fetch, CORS protocol).

Tests: tests/relay/test_cors.py, tests/relay/test_preflight.py.
"""

from zeroproxy._fast.http1.grammar cimport Cursor, is_word
from zeroproxy._fast.types.http cimport FIELD_OTHER, FRAMING_CHUNKED, METHOD_OPTIONS, Field, Head

cdef enum:
    ORIGIN_LEN = 6
    PREFIX_LEN = 15         # of "access-control-"


cdef int find_origin(const Head *h) noexcept nogil:
    """An empty field counts too: its page has no origin to compare."""
    cdef const Field *f
    cdef int i, found = -1
    for i in range(h.n_fields):
        f = &h.fields[i]
        if f.name_len == ORIGIN_LEN and f.id == FIELD_OTHER \
                and is_word(<Cursor>h.base + f.name_at, ORIGIN_LEN, b"origin", ORIGIN_LEN):
            if found >= 0:
                return -1
            found = i
    return found


cdef bint is_preflight(const Head *h) noexcept nogil:
    """True for a CORS preflight, which browsers send without a key (Fetch, CORS-preflight
    fetch)."""
    cdef const Field *f
    cdef bint has_origin = 0, has_method = 0
    cdef int i
    if h.method != METHOD_OPTIONS or h.framing == FRAMING_CHUNKED or h.length:
        return 0
    for i in range(h.n_fields):
        f = &h.fields[i]
        if f.id == FIELD_OTHER and f.value_len:
            has_origin |= is_word(<Cursor>h.base + f.name_at, f.name_len, b"origin", ORIGIN_LEN)
            has_method |= is_word(
                <Cursor>h.base + f.name_at, f.name_len, b"access-control-request-method", 29
            )
    return has_origin and has_method


cdef void drop_cors_fields(Head *h) noexcept nogil:
    """Two values of one of these make a browser refuse the response."""
    cdef Field *f
    cdef int i
    for i in range(h.n_fields):
        f = &h.fields[i]
        if f.name_len > PREFIX_LEN and f.id == FIELD_OTHER \
                and is_word(<Cursor>h.base + f.name_at, PREFIX_LEN, b"access-control-", PREFIX_LEN):
            f.nominated = 1
