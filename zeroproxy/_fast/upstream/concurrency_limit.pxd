from libc.stdint cimport uint64_t

from zeroproxy._fast.types.plane cimport Endpoint, Relay

# Apply the settings; a limit that was found stays, as far as they allow.
cdef void limit_begin(Endpoint *e) noexcept nogil
# Observe the time to the first content. 1: one exchange more may be sent.
cdef bint limit_observe(const Relay *r, uint64_t now) noexcept nogil
# Lower the limit: the endpoint answered 429 or 503.
cdef void limit_busy(const Relay *r, uint64_t now) noexcept nogil
# The limit that adapts itself, in exchanges; 0: it does not.
cdef double limit_learned(const Endpoint *e) noexcept nogil
# Go on from a limit that was found elsewhere, as far as the settings allow.
cdef void limit_restore(Endpoint *e, double limit) noexcept nogil
