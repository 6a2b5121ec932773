from libc.stddef cimport size_t
from libc.stdint cimport uint32_t

from zeroproxy._fast.http1.grammar cimport Cursor
from zeroproxy._fast.types.http cimport VERDICT_BAD, Fault, Field, Head, Span, Verdict


cdef struct Scan:           # position of a parser in the bytes of one head
    Cursor base             # first byte given; offsets in Head count from here
    Cursor at
    Cursor end              # no byte at or past it is read

# Read field lines up to and including the empty line. On OK s.at is behind it.
cdef Verdict parse_fields(Scan *s, Head *head, uint32_t most) noexcept nogil
# End all fields of this id at this hop; use nominate().
cdef void nominate_all(Head *h, int id) noexcept nogil
# First X-Request-Id of 1 to 128 visible ASCII characters; len 0: none.
cdef Span find_request_id(const Head *h) noexcept nogil
# Valid traceparent; len 0: none, or more than one (W3C Trace Context 4.3: not trusted).
cdef Span find_traceparent(const Head *h) noexcept nogil


cdef inline bint has_field(const Head *h, int id) noexcept nogil:
    """True if a field of this id, not FIELD_OTHER, is in a head that was judged."""
    return h.ids >> id & 1


cdef inline void nominate(Head *h, int id) noexcept nogil:
    """End all fields of this id at this hop."""
    if has_field(h, id):
        nominate_all(h, id)


# Bytes of a head by offset and length; borrowed from its buffer.
cdef inline Span span_at(const Head *h, size_t at, size_t n) noexcept nogil:
    cdef Span s
    s.at = h.base + at
    s.len = n
    return s


# Value of a field; borrowed from the buffer of its head.
cdef inline Span value_span(const Head *h, const Field *f) noexcept nogil:
    return span_at(h, f.value_at, f.value_len)


# Note fault and place in the head; returns VERDICT_BAD.
cdef inline Verdict refuse(Head *head, Fault fault, Cursor base, Cursor at) noexcept nogil:
    head.fault = fault
    head.fault_at = <uint32_t>(at - base)
    return VERDICT_BAD
