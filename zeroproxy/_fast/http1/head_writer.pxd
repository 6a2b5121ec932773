from libc.stddef cimport size_t

from zeroproxy._fast.http1.hop cimport RequestHop, ResponseHop
from zeroproxy._fast.types.http cimport Head


# Write the head for upstream; returns its length, 0: above `cap`.
cdef size_t write_request_head(
    const Head *h, const RequestHop *hop, char *out, size_t cap,
) noexcept nogil
# Write the head for downstream; returns its length, 0: above `cap`.
cdef size_t write_response_head(
    const Head *h, const ResponseHop *back, char *out, size_t cap,
) noexcept nogil
