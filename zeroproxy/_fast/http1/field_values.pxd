from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t

from zeroproxy._fast.http1.grammar cimport Cursor, is_word
from zeroproxy._fast.types.http cimport Span

cdef uint8_t field_id(Cursor name, size_t n) noexcept nogil
cdef uint8_t method_id(Cursor name, size_t n) noexcept nogil
cdef bint is_refused_method(Cursor name, size_t n) noexcept nogil
cdef bint is_authority(Cursor p, size_t n) noexcept nogil
cdef bint read_number(Cursor p, size_t n, uint64_t *value) noexcept nogil
cdef bint is_protocol(Span element) noexcept nogil
cdef bint is_traceparent(Cursor p, size_t n) noexcept nogil


cdef inline bint span_is(Span s, const char *word, size_t n) noexcept nogil:
    return is_word(<Cursor>s.at, s.len, word, n)
