from libc.stddef cimport size_t

from zeroproxy._fast.request.routing cimport Begin
from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.plane cimport Plane, Relay, Upstream

cdef bint key_request(
    Plane *p, Relay *r, const Upstream *u, const Head *h, Begin *b,
) noexcept nogil
