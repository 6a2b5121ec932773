from libc.stddef cimport size_t

from zeroproxy._fast.request.routing cimport BodyStart
from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.plane cimport Plane, Relay, Upstream

cdef bint find_affinity(
    Plane *p, Relay *r, const Upstream *u, const Head *h, BodyStart *b,
) noexcept nogil
