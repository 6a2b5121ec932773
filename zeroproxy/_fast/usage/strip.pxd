from libc.stddef cimport size_t

from zeroproxy._fast.types.meter cimport HeldEvent, Meter


cdef enum Strips:           # Exchange.strips
    STRIPS_NOT = 0
    STRIPS_EVENTS = 1       # the answer is an event stream, and something is taken out of it
    STRIPS_UNDECIDED = 2    # a stream was asked for: the first bytes will tell whether it is one

cdef size_t strip_events(
    Meter *m, int edited, HeldEvent *held, char *at, size_t len, size_t *left,
) noexcept nogil
