from libc.stddef cimport size_t

from zeroproxy._fast.plane cimport Plane, Relay, Route
from zeroproxy._fast.types cimport Head

cdef enum:
    ROUTE_MAX = 32768       # bytes of a body in which the model, or a key, is looked for


cdef enum Routed:           # what is no index of an upstream
    ROUTE_MORE = -1         # the model stands further on in the body
    ROUTE_NONE = -2         # nobody serves it
    ROUTE_DENIED = -3       # the caller's key does not allow it

cdef int route_request(
    Plane *p, Relay *r, const Head *h, size_t here, const Route **route,
) noexcept nogil

cdef bint says_what(const Head *h) noexcept nogil
cdef size_t body_here(const Head *h, size_t here) noexcept nogil
cdef bint begin_of_body(
    Plane *p, Relay *r, const Head *h, size_t n, const char **at, size_t *len,
) noexcept nogil
cdef void wait_for_body(Plane *p, Relay *r, const Head *h, size_t n) noexcept nogil
