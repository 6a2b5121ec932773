"""The `model` of multipart/form-data (RFC 7578), in the start of a body.

Law. The search is flat, and starts anew when there is more of the body. A part is found only once
     its end is there, for half a name is no name. A malformed form has no such part.
Tests: tests/relay/test_named.py.
"""

from libc.stddef cimport size_t
from libc.string cimport memchr, memcmp

from zeroproxy._fast.http1.grammar cimport Cursor, is_word
from zeroproxy._fast.request.form_model cimport FORM_ABSENT, FORM_FOUND, FORM_MORE

cdef enum:
    BOUNDARY_MAX = 70       # RFC 2046 5.1.1


cdef size_t parameter(
    const char *at, size_t len, const char *name, size_t n, const char **found,
) noexcept nogil:
    """Length of a parameter's value behind the first ";", without its quotes; 0: none. An escape
    inside quotes stays as it is."""
    cdef size_t k = 0, begin, end
    cdef bint is_it
    while k < len:
        # To the next semicolon outside quotes.
        if at[k] == c'"':
            k += 1
            while k < len and at[k] != c'"':
                k += 1 + (at[k] == c'\\')
        elif at[k] == c';':
            k += 1
            while k < len and (at[k] == c' ' or at[k] == c'\t'):
                k += 1
            is_it = k + n < len and at[k + n] == c'=' and is_word(<Cursor>at + k, n, name, n)
            if is_it:
                begin = k + n + 1
                if begin < len and at[begin] == c'"':
                    begin += 1
                    end = begin
                    while end < len and at[end] != c'"':
                        end += 1 + (at[end] == c'\\')
                else:
                    end = begin
                    while end < len and at[end] not in (c';', c' ', c'\t', c'\r'):
                        end += 1
                found[0] = at + begin
                return end - begin if end <= len else 0
            continue
        k += 1
    return 0


cdef size_t boundary_of(const char *at, size_t len, const char **found) noexcept nogil:
    cdef size_t n = parameter(at, len, b"boundary", 8, found)
    return n if n <= BOUNDARY_MAX else 0


cdef size_t line_end(const char *at, size_t k, size_t len) noexcept nogil:
    """Offset behind the next CRLF; 0: not here."""
    cdef const char *cr
    while k < len:
        cr = <const char *>memchr(at + k, c'\r', len - k)
        if cr == NULL:
            return 0
        k = <size_t>(cr - at) + 1
        if k < len and at[k] == c'\n':
            return k + 1
    return 0


cdef bint begins_part(
    const char *at, size_t k, size_t len, const char *boundary, size_t n,
) noexcept nogil:
    """True for a delimiter at offset k, behind a line's end, and not for a longer one."""
    return len - k > n + 2 and at[k] == c'-' and at[k + 1] == c'-' \
        and memcmp(at + k + 2, boundary, n) == 0 and at[k + 2 + n] in (c'-', c'\r', c' ', c'\t')


cdef size_t next_part(
    const char *at, size_t k, size_t len, const char *boundary, size_t n,
) noexcept nogil:
    """Offset of the next delimiter, from a line's start at k on; `len`: not here."""
    while k < len and not begins_part(at, k, len, boundary, n):
        k = line_end(at, k, len)
        if k == 0:
            return len
    return k if k < len else len


cdef bint names_model(const char *at, size_t len) noexcept nogil:
    """True for the header line of a part named `model`."""
    cdef const char *name
    cdef size_t n
    if len < 20 or not is_word(<Cursor>at, 20, b"content-disposition:", 20):
        return 0
    n = parameter(at, len, b"name", 4, &name)
    return n == 5 and memcmp(name, b"model", 5) == 0


cdef int form_field(
    const char *at, size_t len, const char *boundary, size_t n, const char **value, size_t *size,
) noexcept nogil:
    cdef size_t k = next_part(at, 0, len, boundary, n)
    cdef size_t end
    cdef bint is_model
    while k < len:
        k += 2 + n
        if len - k >= 2 and at[k] == c'-' and at[k + 1] == c'-':
            return FORM_ABSENT
        k = line_end(at, k, len)
        is_model = 0
        while k:
            # Header lines, up to the empty one.
            end = line_end(at, k, len)
            if end == k + 2:
                break
            is_model |= end != 0 and names_model(at + k, end - k - 2)
            k = end
        if k == 0:
            return FORM_MORE
        k = end
        end = next_part(at, k, len, boundary, n)
        if is_model and end < len:
            value[0] = at + k
            size[0] = end - k - 2 if end >= k + 2 else 0
            return FORM_FOUND
        k = end
    return FORM_MORE
