from zeroproxy._fast.types.plane cimport Plane, Relay

cdef void read_response(Plane *p, Relay *r) noexcept nogil
