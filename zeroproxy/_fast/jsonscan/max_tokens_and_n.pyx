"""Numbers that a request names: its choices, and the tokens that each may have at most."""

from libc.stdint cimport int64_t, uint16_t, uint32_t

from zeroproxy._fast.jsonscan.edits cimport KEY_BOUND, KEY_N
from zeroproxy._fast.jsonscan.max_tokens_and_n cimport BOUND_UNREAD
from zeroproxy._fast.jsonscan.string_end_and_number cimport parse_count
from zeroproxy._fast.jsonscan.terms cimport note_number
from zeroproxy._fast.types.meter cimport REQUEST_TEXT, RequestScan

cdef enum:
    BOUND_MAX = 1 << 30
    N_MAX = 0xFFFF


cdef void take_count(RequestScan *a) noexcept nogil:
    """End of a number, or of a string, which some servers convert. The largest of several bounds
    holds, since servers differ in which one they take."""
    cdef int64_t n = parse_count(a.text, a.text_len) if a.text_len <= REQUEST_TEXT else -1
    if n > BOUND_MAX or (n < 0 and a.text_len and c'1' <= a.text[0] <= c'9'):
        n = BOUND_MAX
    if a.of_kind.terms.reads:
        note_number(a)
    if a.key == KEY_BOUND:
        a.bound = max(a.bound, <uint32_t>(n if n >= 0 else <int64_t>BOUND_UNREAD))
    elif a.key == KEY_N and n >= 0:
        a.n = <uint16_t>min(n, <int64_t>N_MAX)
