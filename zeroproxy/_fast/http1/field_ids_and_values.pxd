from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t

from zeroproxy._fast.http1.grammar cimport Cursor, is_word
from zeroproxy._fast.types.http cimport Span

# FieldId of a name of n > 0 bytes in any case; FIELD_OTHER: any other.
cdef uint8_t field_id(Cursor name, size_t n) noexcept nogil
# Method of a name, whose case counts; METHOD_OTHER: any other.
cdef uint8_t method_id(Cursor name, size_t n) noexcept nogil
# CONNECT and TRACE: no tunnel is offered, and an echo leaks credentials.
cdef bint is_refused_method(Cursor name, size_t n) noexcept nogil
# uri-host [ ":" port ]: the value of Host, and the authority of an absolute-form target.
cdef bint is_authority(Cursor p, size_t n) noexcept nogil
# Read 1*DIGIT into `value`. 0: no number, or above 2^63 - 1.
cdef bint read_number(Cursor p, size_t n, uint64_t *value) noexcept nogil
# A member of Upgrade that goes on: token [ "/" token ], never h2c (RFC 9113 3.1).
cdef bint is_protocol(Span element) noexcept nogil
# An IPv4 or IPv6 address, without brackets, port or zone.
cdef bint is_ip(Cursor p, size_t n) noexcept nogil
# A value of Forwarded (RFC 7239 4): elements of pairs of a token and a token or quoted string.
cdef bint is_forwarded(Cursor p, size_t n) noexcept nogil
# A traceparent of W3C Trace Context 3.2.2; a later version may carry more behind a dash.
cdef bint is_traceparent(Cursor p, size_t n) noexcept nogil


# The span is `word` in any case; `word` is lower case.
cdef inline bint span_is(Span s, const char *word, size_t n) noexcept nogil:
    return is_word(<Cursor>s.at, s.len, word, n)
# Compare a media type without its parameters with `kind`, in lower case.
cdef bint is_media_type(const char *at, size_t len, const char *kind, size_t n) noexcept nogil
