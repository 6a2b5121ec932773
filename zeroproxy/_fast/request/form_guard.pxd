from libc.stddef cimport size_t

from zeroproxy._fast.types.form cimport FormWatch

# True if the Content-Type of a form has a boundary and nothing else, without escapes.
cdef bint is_plain_boundary(const char *at, size_t len) noexcept nogil
# Start at a form's first byte. `boundary` is copied, n <= DELIMITER_MAX - 2.
cdef void watch_begin(FormWatch *w, const char *boundary, size_t n) noexcept nogil
# Read the next `len` bytes of the form, borrowed. False: it may not pass.
cdef bint watch_feed(FormWatch *w, const char *at, size_t len) noexcept nogil
