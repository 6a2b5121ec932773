from libc.stdint cimport uint64_t

from zeroproxy._fast.types.plane cimport Plane, Relay

# Return when the current phase expires, in monotonic ns; 0: never.
cdef uint64_t deadline(const Plane *p, const Relay *r) noexcept nogil
# Note body bytes that came: the least rate is measured anew if the caller was ahead of it.
cdef void body_came(const Plane *p, Relay *r) noexcept nogil
# Return 1 if a body that is being streamed is beyond its deadline.
cdef bint body_is_late(const Plane *p, const Relay *r) noexcept nogil
# Let the relay's timer fire no later than its next deadline.
cdef void arm(Plane *p, Relay *r) noexcept nogil
# Return when a hedge is due; 0: never.
cdef uint64_t hedge_due(const Relay *r) noexcept nogil
