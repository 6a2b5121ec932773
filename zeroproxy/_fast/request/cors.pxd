from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.plane cimport Plane, Relay

# Choose the CORS lines of the response by the Origin of a head, which ends here if it is a known
# one. p.cors must not be NULL.
cdef void judge_origin(const Plane *p, Relay *r, Head *h) noexcept nogil
