from zeroproxy._fast.types.plane cimport Plane, Relay

# Return a relay in PHASE_IDLE without a descriptor; NULL: no memory.
cdef Relay *acquire_relay(Plane *p) noexcept nogil
# Return a relay that holds nothing any more to the free list.
cdef void release_relay(Plane *p, Relay *r) noexcept nogil
# Forget the exchange that has ended; the downstream conn stays.
cdef void relay_reset(Plane *p, Relay *r) noexcept nogil
# Append the relay to the run list, once.
cdef void relay_later(Plane *p, Relay *r) noexcept nogil
# Measure the least rate of the request body from now on.
cdef void rate_begin(const Plane *p, Relay *r) noexcept nogil
# Note who ended the exchange and why; only the first call has an effect.
cdef void blame(Relay *r, int who, int why) noexcept nogil
