from libc.stddef cimport size_t

from zeroproxy._fast.meter_types cimport Meter
from zeroproxy._fast.types cimport Tokens


cdef enum Kind:             # of a response body
    KIND_NONE = 0           # nothing to read in it
    KIND_EVENTS             # text/event-stream
    KIND_JSON               # one JSON text

cdef void meter_begin(Meter *m, int kind) noexcept nogil
cdef void meter_feed(Meter *m, const char *at, size_t len) noexcept nogil
cdef int meter_end(Meter *m, bint is_whole, Tokens *tokens) noexcept nogil
