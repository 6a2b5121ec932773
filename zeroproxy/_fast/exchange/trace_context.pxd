from libc.stddef cimport size_t

from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.plane cimport Plane, Relay

cdef enum:
    REQUEST_ID_LEN = 32
    TRACEPARENT_LEN = 55

cdef int trace_context_init(Plane *p) noexcept nogil
cdef size_t make_request_id(Plane *p, char *out) noexcept nogil
cdef size_t adopt_trace(Plane *p, Relay *r, Head *h, char *out) noexcept nogil
