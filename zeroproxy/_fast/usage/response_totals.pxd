from libc.stdint cimport int64_t

from zeroproxy._fast.types.meter cimport COUNT_MAX, Meter, Tokens


cdef enum:
    UNKNOWN = 0xFFFFFFFF    # in a Slot


cdef inline int64_t added(int64_t a, int64_t b) noexcept nogil:
    """Sum of two counts; -1: not known."""
    if a < 0 or b < 0:
        return b if a < 0 else a
    return a + b if a + b < <int64_t>COUNT_MAX else <int64_t>COUNT_MAX

# Fill `tokens` with the totals of the response; returns their Exactness.
cdef int sum_tokens(const Meter *m, Tokens *tokens) noexcept nogil
