from zeroproxy._fast.types.plane cimport Plane, Relay

cdef void read_request(Plane *p, Relay *r) noexcept nogil
