from zeroproxy._fast.types.plane cimport Plane, Relay

cdef void write_record(Plane *p, Relay *r) noexcept nogil
cdef void release_all(Plane *p, Relay *r) noexcept nogil
