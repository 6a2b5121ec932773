from zeroproxy._fast.types.plane cimport Plane, Relay

# Read downstream while the exchange has use for it, a few times at most. Afterwards the relay may
# be in another phase, or closed.
cdef void read_request(Plane *p, Relay *r) noexcept nogil
