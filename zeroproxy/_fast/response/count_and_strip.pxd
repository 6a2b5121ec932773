from libc.stddef cimport size_t

from zeroproxy._fast.types.plane cimport Plane, Relay

# A body that ends here ends in the middle of an event, a line or a JSON text.
cdef bint ends_inside(const Relay *r) noexcept nogil
# Note the time of the first content, once.
cdef void note_first(Plane *p, Relay *r) noexcept nogil
# Meter one read of the body and strip it in place; returns the bytes to send at `data`.
cdef size_t read_data(Plane *p, Relay *r, char **data, size_t n, bint is_last) noexcept nogil
