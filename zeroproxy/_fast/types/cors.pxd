# Answers to browsers' pages of other origins (server.cors). No code; the laws of http.pxd hold here
# too.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t

from zeroproxy._fast.types.http cimport Span


cdef struct CorsOrigin:     # one that may read responses
    Span name               # as Origin has it
    Span lines              # field lines of responses to it


cdef struct CorsTable:      # all spans are borrowed from `text`
    CorsTable *older        # no longer in force; exchanges may borrow its lines
    char *text              # owned
    size_t len
    CorsOrigin *origins     # owned
    uint32_t n
    uint8_t allows_any      # `others` lets every origin read
    Span others             # field lines of responses to any other origin, or to none
    Span preflight          # field lines more, of the answer to a preflight
