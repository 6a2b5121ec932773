from zeroproxy._fast.types.network cimport Listener
from zeroproxy._fast.types.plane cimport Plane, Relay

# Let a relay whose descriptor is watched serve requests; on a listener that takes the PROXY
# protocol, read its header first. May close the relay. 0: no memory; the relay was closed.
cdef bint preamble_begin(Plane *p, Relay *r, const Listener *l) noexcept nogil
