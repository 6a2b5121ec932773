from zeroproxy._fast.types.meter cimport RequestScan


cdef enum:
    BOUND_UNREAD = 256      # tokens reserved for a text without a bound, or with one as -1


# Store the number in a.text as the n or the bound of `a`, as a.key has it.
cdef void take_count(RequestScan *a) noexcept nogil
