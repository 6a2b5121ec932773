"""Booleans of a request that are spelt as a number or a text."""

from zeroproxy._fast.jsonscan.edits cimport KEY_STREAM, KEY_USAGE
from zeroproxy._fast.jsonscan.strings cimport is_true
from zeroproxy._fast.types.meter cimport REQUEST_TEXT, RequestScan


cdef void take_flag(RequestScan *a, bint is_number) noexcept nogil:
    """Some servers convert a number or a string to a boolean."""
    cdef bint is_set = is_true(a.text, min(a.text_len, REQUEST_TEXT), is_number)
    a.is_guess = 1
    if a.key == KEY_STREAM:
        a.is_stream = is_set
    elif a.key == KEY_USAGE:
        a.has_usage = is_set
    else:
        a.has_running = is_set
