from libc.stdint cimport uint32_t

from zeroproxy._fast.grammar cimport Cursor
from zeroproxy._fast.types cimport Fault, Head, Verdict, VERDICT_BAD


cdef struct Scan:           # where a parser stands in the bytes of one head
    Cursor base             # first byte given; offsets in Head count from here
    Cursor at
    Cursor end              # no byte at or past it is read

cdef Verdict parse_fields(Scan *s, Head *head, uint32_t most) noexcept nogil


cdef inline Verdict refuse(Head *head, Fault fault, Cursor base, Cursor at) noexcept nogil:
    head.fault = fault
    head.fault_at = <uint32_t>(at - base)
    return VERDICT_BAD
