from libc.stddef cimport size_t

from zeroproxy._fast.types.plane cimport Plane, Relay

# True if a body that ends here ends inside an event, a line or a JSON text.
cdef bint ends_inside(const Relay *r) noexcept nogil
# Note the first content: its time, which the endpoint's limit may adapt to. The caller ensures that
# it is noted once.
cdef void note_first(Plane *p, Relay *r) noexcept nogil
# Meter one read of the body and strip it in place; returns the bytes to send at `data`.
cdef size_t read_data(Plane *p, Relay *r, char **data, size_t n, bint is_last) noexcept nogil
