from libc.stddef cimport size_t

from zeroproxy._fast.types.form cimport FormWatch

cdef bint is_plain_boundary(const char *at, size_t len) noexcept nogil
cdef void watch_begin(FormWatch *w, const char *boundary, size_t n) noexcept nogil
cdef bint watch_feed(FormWatch *w, const char *at, size_t len) noexcept nogil
