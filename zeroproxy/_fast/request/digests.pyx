"""Fields of a head that hold for the exact bytes of a body: digests and signatures.

Tests: tests/relay/test_editing.py, tests/relay/test_refusals.py.
"""

from libc.stddef cimport size_t

from zeroproxy._fast.http1.grammar cimport Cursor, is_word
from zeroproxy._fast.types.http cimport FIELD_OTHER, Field, Head


cdef bint is_digest(const Head *h, const Field *f) noexcept nogil:
    """True for a field that names the exact bytes of a body, or promises parts of them."""
    cdef Cursor name = <Cursor>h.base + f.name_at
    cdef size_t n = f.name_len
    if f.id != FIELD_OTHER:
        return 0
    return (
        is_word(name, n, b"etag", 4)
        or is_word(name, n, b"digest", 6)
        or is_word(name, n, b"repr-digest", 11)
        or is_word(name, n, b"content-md5", 11)
        or is_word(name, n, b"accept-ranges", 13)
        or is_word(name, n, b"content-digest", 14)
    )


cdef void drop_digests(Head *h) noexcept nogil:
    cdef int i
    for i in range(h.n_fields):
        if is_digest(h, &h.fields[i]):
            h.fields[i].nominated = 1


cdef bint is_signed(const Head *h) noexcept nogil:
    """True if a field of a request lets the server refuse any body but the caller's."""
    cdef const Field *f
    cdef Cursor name
    cdef int i
    for i in range(h.n_fields):
        f = &h.fields[i]
        name = <Cursor>h.base + f.name_at
        if f.id == FIELD_OTHER and (
            is_word(name, f.name_len, b"signature", 9)
            or is_word(name, f.name_len, b"x-amz-content-sha256", 20)
        ):
            return 1
    return 0
