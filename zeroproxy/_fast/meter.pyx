"""What passes by in a streamed response: where events end.

Law 1. Resumable at every byte, bounded, and never a copy of the response.
Law 2. An edge is a blank line, in any of the three line ends SSE allows (LF, CRLF, CR); for NDJSON
       a single LF would do, and a blank line is asked for all the same: rather no last words than
       words inside a line.
"""

from libc.stddef cimport size_t
from libc.string cimport memcpy, memmove, memset

from zeroproxy._fast.meter_types cimport Meter


cdef void meter_begin(Meter *m) noexcept nogil:
    memset(m, 0, sizeof(Meter))
    m.at_edge = 1


cdef void meter_feed(Meter *m, const char *at, size_t len) noexcept nogil:
    """`len` > 0 bytes of body data, in any split."""
    if len >= 4:
        memcpy(m.tail, at + len - 4, 4)
    else:
        memmove(m.tail, m.tail + len, 4 - len)
        memcpy(m.tail + 4 - len, at, len)
    m.at_edge = (
        (m.tail[3] == c'\n' and m.tail[2] == c'\n')
        or (m.tail[3] == c'\r' and m.tail[2] == c'\r')
        or (m.tail[3] == c'\n' and m.tail[2] == c'\r' and m.tail[1] in (c'\n', c'\r'))
    )
    m.n_events += m.at_edge
