from libc.stddef cimport size_t

from zeroproxy._fast.types.plane cimport Plane, Relay

cdef void refuse(Plane *p, Relay *r, int fault) noexcept nogil
cdef size_t take_head(Plane *p, Relay *r, const char *at, size_t len) noexcept nogil
cdef void submit_request(Plane *p, Relay *r) noexcept nogil
