from libc.stddef cimport size_t

from zeroproxy._fast.types.plane cimport Plane, Relay

# Write the lines that tell a refused caller when to come again, if at all: their length, without
# the final NUL. Nothing is written for a status that says it all.
cdef size_t write_retry_lines(Plane *p, Relay *r, int status, char *out, size_t cap) noexcept nogil
# The same for a conn that is refused unread.
cdef size_t write_soon_lines(Plane *p, char *out, size_t cap) noexcept nogil
