from libc.stddef cimport size_t
from libc.stdint cimport int64_t

cdef size_t string_end(const char *at, size_t len, bint *is_escaped) noexcept nogil
cdef int64_t parse_count(const char *at, size_t len) noexcept nogil


cdef inline bint in_number(char c) noexcept nogil:
    return c'0' <= c <= c'9' or c == c'.' or c == c'e' or c == c'E' or c == c'+' or c == c'-'
