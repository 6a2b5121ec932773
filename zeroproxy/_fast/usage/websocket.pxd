from libc.stddef cimport size_t

from zeroproxy._fast.types.meter cimport Meter

# Read frames, in any split.
cdef void walk_frames(Meter *m, const char *at, size_t len) noexcept nogil
