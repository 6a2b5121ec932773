from zeroproxy._fast.jsonscan.edits cimport KEY_BOUND, KEY_N
from zeroproxy._fast.types.meter cimport RequestScan


cdef inline bint is_count(int key) noexcept nogil:
    """Whether its value is a number."""
    return key == KEY_N or key == KEY_BOUND


cdef void take_count(RequestScan *a) noexcept nogil
