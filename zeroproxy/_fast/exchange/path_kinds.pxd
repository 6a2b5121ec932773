from libc.stddef cimport size_t

# Return 1 if the text ends with `tail`.
cdef bint ends_with(const char *at, size_t len, const char *tail, size_t n) noexcept nogil
# Return 1 if a POST to this path makes an engine work.
cdef bint generates(const char *at, size_t len) noexcept nogil
# Return 1 if the answer to a POST to this path is text that may be as long as the server likes.
cdef bint is_generating(const char *at, size_t len) noexcept nogil
