from libc.stdint cimport uint16_t

# Copy `text` into memory of the caller's; NULL for b"".
cdef int copy_text(char **to, bytes text) except -1
# Read upstream.host: `at` and `n` are set where it is a name. Returns 1 where a caller's Host goes
# no further.
cdef bint read_host(host, char **at, uint16_t *n) except -1
