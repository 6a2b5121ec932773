from zeroproxy._fast.jsonscan.edits cimport KEY_RUNNING, KEY_STREAM, KEY_USAGE
from zeroproxy._fast.types.meter cimport RequestScan


cdef inline bint is_flag(int key) noexcept nogil:
    """True if the value of a member of this Key is a boolean, in any spelling."""
    return key == KEY_STREAM or key == KEY_USAGE or key == KEY_RUNNING


# Store the number or the text in a.text as the flag that a.key names.
cdef void take_flag(RequestScan *a, bint is_number) noexcept nogil
