from zeroproxy._fast.types.plane cimport Plane, Relay

# Move bytes both ways while the other side takes them, within a budget.
cdef void pump_tunnel(Plane *p, Relay *r) noexcept nogil
