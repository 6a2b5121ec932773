from zeroproxy._fast.types.plane cimport Plane, Relay

# Read upstream while downstream takes it, within a budget.
cdef void read_response(Plane *p, Relay *r) noexcept nogil
