from zeroproxy._fast.jsonscan.edits cimport KEY_BOUND, KEY_N
from zeroproxy._fast.types.meter cimport RequestScan


cdef enum:
    BOUND_UNREAD = 256      # tokens reserved for a text without a bound, or with one as -1


cdef inline bint is_count(int key) noexcept nogil:
    """True if the value of a member of this Key is a number."""
    return key == KEY_N or key == KEY_BOUND


# Store the number in a.text as the n or the bound of `a`, as a.key has it.
cdef void take_count(RequestScan *a) noexcept nogil
