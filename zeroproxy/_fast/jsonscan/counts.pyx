"""Numbers that a request names: how many choices, and how many tokens each may have at most."""

from libc.stdint cimport int64_t, uint16_t, uint32_t

from zeroproxy._fast.jsonscan.edits cimport KEY_BOUND
from zeroproxy._fast.jsonscan.tokens cimport parse_count
from zeroproxy._fast.types.meter cimport SCAN_TEXT, RequestScan

cdef enum:
    BOUND_MAX = 1 << 30
    BOUND_UNREAD = 256      # of what is no count, as -1: so much is reserved where none is named
    N_MAX = 0xFFFF


cdef void take_count(RequestScan *a) noexcept nogil:
    """A number has ended, or a string, which some servers convert. Of several bounds the largest
    holds: which one counts is the server's choice."""
    cdef int64_t n = parse_count(a.text, a.text_len) if a.text_len <= SCAN_TEXT else -1
    if n > BOUND_MAX or (n < 0 and a.text_len and c'1' <= a.text[0] <= c'9'):
        n = BOUND_MAX
    if a.key == KEY_BOUND:
        a.bound = max(a.bound, <uint32_t>(n if n >= 0 else <int64_t>BOUND_UNREAD))
    elif n >= 0:
        a.n = <uint16_t>min(n, <int64_t>N_MAX)
