from libc.stddef cimport size_t
from libc.stdint cimport uint32_t

from zeroproxy._fast.types.meter cimport Meter


cdef struct LineScan:       # result of one call of walk_lines
    size_t data_at          # where the last data began
    uint32_t n_data         # pieces of data

cdef enum LineState:
    LINE_NAME = 0           # of a field
    LINE_DATA
    LINE_EVENT              # the event's name
    LINE_OTHER              # another field, or a comment inside an event
    LINE_COMMENT            # at an edge: behind it there is one again

# Offset of the first LF or CR; `len`: none.
cdef size_t line_end(const char *at, size_t len) noexcept nogil
# End an event: its data is complete.
cdef void end_event(Meter *m) noexcept nogil
# End a line.
cdef void end_line(Meter *m) noexcept nogil
# Read lines, in any split, or up to the next edge with `to_edge`; returns the bytes read.
cdef size_t walk_lines(
    Meter *m, const char *at, size_t len, LineScan *l, bint to_edge,
) noexcept nogil
