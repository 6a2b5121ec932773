from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.plane cimport Plane, Relay

# Write the outgoing head into the replay buffer. 0: it does not fit, or no memory.
cdef bint compose_request(Plane *p, Relay *r, Head *h) noexcept nogil
