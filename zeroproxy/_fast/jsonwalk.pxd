from libc.stddef cimport size_t

from zeroproxy._fast.meter_types cimport Meter


cdef enum WalkState:
    WALK_PLAIN = 0          # between tokens
    WALK_STRING
    WALK_ESCAPE             # behind a backslash inside a string
    WALK_NUMBER             # a number that counts

cdef void walk_begin(Meter *m) noexcept nogil
cdef void walk_feed(Meter *m, const char *at, size_t len) noexcept nogil
