from libc.stddef cimport size_t

from zeroproxy._fast.plane cimport Plane, Relay, Route
from zeroproxy._fast.types cimport Head

cdef enum Routed:           # what is no index of an upstream
    ROUTE_MORE = -1         # the model stands further on in the body
    ROUTE_NONE = -2         # nobody serves it
    ROUTE_DENIED = -3       # the caller's key does not allow it

cdef int route_request(
    Plane *p, Relay *r, const Head *h, size_t here, const Route **route,
) noexcept nogil
