from zeroproxy._fast.types.plane cimport Plane, Relay

cdef void pump_tunnel(Plane *p, Relay *r) noexcept nogil
