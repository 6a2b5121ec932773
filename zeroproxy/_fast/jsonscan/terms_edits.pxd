from libc.stddef cimport size_t
from libc.stdint cimport uint16_t, uint32_t

from zeroproxy._fast.types.meter cimport Place, RequestScan

cdef enum:
    TERMS_EDIT_MAX = 64     # bytes of one insertion
    # All insertions into one body: two of these, and a number for each null.
    TERMS_BYTES_MAX = 256

# Write the insertion at a place of the terms to `out`, which has TERMS_EDIT_MAX bytes. `skip`:
# bytes of the body that it replaces. Returns its length; 0: nothing is inserted.
cdef size_t terms_edit(
    const RequestScan *a, const Place *it, char *out, uint16_t *skip
) noexcept nogil
# Write `cap`, and at least `len` blanks in all, to `out`, which has 10 bytes more than `len`.
cdef void write_lowered(char *out, uint32_t cap, size_t len) noexcept nogil
