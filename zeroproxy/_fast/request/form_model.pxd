from libc.stddef cimport size_t


cdef enum FormResult:
    FORM_MORE = 0           # it may be further on
    FORM_FOUND
    FORM_ABSENT             # the form has ended, or is malformed

# Length of the boundary in a Content-Type, whose place goes to `found`; 0: none that is valid.
cdef size_t boundary_of(const char *at, size_t len, const char **found) noexcept nogil
# FormResult of `model` in the first `len` bytes of a form; `value`, `size`: its data, in them.
cdef int form_field(
    const char *at, size_t len, const char *boundary, size_t n, const char **value, size_t *size,
) noexcept nogil
