from libc.stddef cimport size_t


cdef enum FormResult:
    FORM_MORE = 0           # it may stand further on
    FORM_FOUND
    FORM_ABSENT             # the form has ended, or is none

cdef size_t boundary_of(const char *at, size_t len, const char **found) noexcept nogil
cdef int form_field(
    const char *at, size_t len, const char *boundary, size_t n, const char **value, size_t *size,
) noexcept nogil
