from libc.stdint cimport uint64_t

from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.plane cimport Relay

# Note the patience of the caller and its retry, as its SDK tells them; the upstream is chosen.
cdef void read_sdk_fields(Relay *r, const Head *h) noexcept nogil
# Nanoseconds without a byte after which the caller gives up, as its SDK announces it; 0: not known.
cdef uint64_t caller_patience(const Head *h) noexcept nogil
