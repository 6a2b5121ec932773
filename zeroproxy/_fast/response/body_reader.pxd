from libc.stddef cimport size_t

from zeroproxy._fast.types.plane cimport Plane, Relay

cdef bint ends_inside(const Relay *r) noexcept nogil
cdef void note_first(Plane *p, Relay *r) noexcept nogil
cdef size_t read_data(Plane *p, Relay *r, char **data, size_t n, bint is_last) noexcept nogil
