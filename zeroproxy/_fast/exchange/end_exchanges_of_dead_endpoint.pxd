from libc.stdint cimport uint32_t, uint64_t

from zeroproxy._fast.types.plane cimport Endpoint, Plane, Relay

# Return 1 if the endpoint owes `r` bytes: the request is sent, and the caller takes the answer.
cdef bint is_owed(const Relay *r, const Endpoint *e) noexcept nogil
# End exchanges that `e` has owed a byte for `after` ns; returns how many lost an attempt.
cdef uint32_t end_silent(Plane *p, const Endpoint *e, uint64_t after) noexcept nogil
