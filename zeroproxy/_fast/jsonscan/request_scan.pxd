from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

from zeroproxy._fast.types.meter cimport RequestScan
from zeroproxy._fast.types.model cimport ModelName

cdef void request_scan_begin(RequestScan *a, ModelName *name) noexcept nogil
cdef void request_scan_rename(
    RequestScan *a, const char *name, size_t len, size_t skip,
) noexcept nogil
cdef void request_scan_form(RequestScan *a, uint64_t at) noexcept nogil
cdef void request_scan_feed(
    RequestScan *a, uint64_t from_, const char *at, size_t len,
) noexcept nogil
cdef bint request_scan_is_in_model(const RequestScan *a) noexcept nogil
