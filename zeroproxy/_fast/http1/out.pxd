# Bytes of a head on their way into a block: all of them, or `full`.

from libc.stddef cimport size_t
from libc.string cimport memcpy, strlen

from zeroproxy._fast.http1.field_lines cimport span_at, value_span
from zeroproxy._fast.http1.grammar cimport Cursor, skip_value
from zeroproxy._fast.types.http cimport Field, Head, Span


cdef struct Out:
    char *at
    char *end
    bint full               # something did not fit; nothing is written from then on


# `n` bytes.
cdef inline void put(Out *o, const char *at, size_t n) noexcept nogil:
    if o.full or <size_t>(o.end - o.at) < n:
        o.full = 1
        return
    if n:  # an empty span may be NULL
        memcpy(o.at, at, n)
    o.at += n


# A text that ends in NUL.
cdef inline void put_word(Out *o, const char *word) noexcept nogil:
    put(o, word, strlen(word))


# Borrowed bytes.
cdef inline void put_span(Out *o, Span s) noexcept nogil:
    put(o, s.at, s.len)


# A field line; `name` has its colon and blank.
cdef inline void put_line(Out *o, const char *name, Span value) noexcept nogil:
    put_word(o, name)
    put_span(o, value)
    put_word(o, b"\r\n")


# A field line as it was received.
cdef inline void put_field(Out *o, const Head *h, const Field *f) noexcept nogil:
    cdef size_t n = <size_t>f.name_len + f.value_len + 4
    if o.full or <size_t>(o.end - o.at) < n:
        o.full = 1
        return
    memcpy(o.at, h.base + f.name_at, f.name_len)
    o.at += f.name_len
    memcpy(o.at, b": ", 2)
    memcpy(o.at + 2, h.base + f.value_at, f.value_len)
    o.at += f.value_len + 2
    memcpy(o.at, b"\r\n", 2)
    o.at += 2


# `s`, or an empty span if a field value may not hold it.
cdef inline Span clean(Span s) noexcept nogil:
    if s.len and skip_value(<Cursor>s.at, <Cursor>s.at + s.len) != <Cursor>s.at + s.len:
        s.len = 0
    return s


# A field line, unless its value is empty.
cdef inline void put_optional(Out *o, const char *name, Span value) noexcept nogil:
    if value.len:
        put_line(o, name, value)


# Host of a request, borrowed: the target's authority before Host (RFC 9112 3.2.2).
cdef inline Span requested_host(const Head *h) noexcept nogil:
    if h.authority_len:
        return span_at(h, h.authority_at, h.authority_len)
    if h.host_field >= 0:
        return value_span(h, &h.fields[h.host_field])
    return span_at(h, 0, 0)
