from libc.stdint cimport uint64_t

from zeroproxy._fast.types.plane cimport Plane, Relay

# Return when the current phase expires, in monotonic ns; 0: never.
cdef uint64_t deadline(const Plane *p, const Relay *r) noexcept nogil
# Let the relay's timer fire no later than its next deadline.
cdef void arm(Plane *p, Relay *r) noexcept nogil
# Return when a second endpoint is to be asked; 0: never.
cdef uint64_t hedge_due(const Relay *r) noexcept nogil
