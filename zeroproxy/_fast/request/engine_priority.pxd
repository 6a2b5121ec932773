from libc.stddef cimport size_t

from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.plane cimport Relay

cdef enum:
    PRIORITY_LINE_MAX = 32  # bytes

# Write the line with the priority of the caller's key to `out`, which has PRIORITY_LINE_MAX bytes.
# Returns its length; 0: none is due. Fields of that name that the caller sent are nominated.
cdef size_t write_priority(const Relay *r, Head *h, char *out) noexcept nogil
