from libc.stddef cimport size_t

from zeroproxy._fast.types.plane cimport Plane, Relay

# End the request with a local reply for this Fault, and close the conn behind it. It stays after a
# term of the key, if the body was read.
cdef void refuse(Plane *p, Relay *r, int fault) noexcept nogil
# Try to read a head from [at, at + len), borrowed. Returns the bytes taken, all of them if it is
# malformed; 0: more are needed. A good head is composed into the replay buffer.
cdef size_t take_head(Plane *p, Relay *r, const char *at, size_t len) noexcept nogil
# Ask for a permit, once the head is composed.
cdef void submit_request(Plane *p, Relay *r) noexcept nogil
