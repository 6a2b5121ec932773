from libc.stddef cimport size_t
from libc.stdint cimport uint64_t

from zeroproxy._fast.types.meter cimport RequestScan
from zeroproxy._fast.types.model_name cimport ModelName

# Start at a body's first byte. `name` is borrowed and gets the model's name; NULL: none is kept.
cdef void request_scan_begin(RequestScan *a, ModelName *name) noexcept nogil
# Replace the model's value, `skip` bytes, by `name`, which is borrowed and spelt as in the body.
cdef void request_scan_rename(
    RequestScan *a, const char *name, size_t len, size_t skip,
) noexcept nogil
# Note the place of the model's name, offset `at` of a form, whose scan is done already.
cdef void request_scan_form(RequestScan *a, uint64_t at) noexcept nogil
# Read [at, at + len), the body from offset `from_` on, borrowed; from_ <= n_read, and bytes before
# n_read are skipped.
cdef void request_scan_feed(
    RequestScan *a, uint64_t from_, const char *at, size_t len,
) noexcept nogil
# True from a model's key to the end of its value: the name so far is none.
cdef bint request_scan_is_in_model(const RequestScan *a) noexcept nogil
