from libc.stddef cimport size_t

from zeroproxy._fast.plane cimport Plane, Relay, Upstream
from zeroproxy._fast.routing cimport Begin
from zeroproxy._fast.types cimport Head

cdef bint key_request(
    Plane *p, Relay *r, const Upstream *u, const Head *h, Begin *b,
) noexcept nogil
