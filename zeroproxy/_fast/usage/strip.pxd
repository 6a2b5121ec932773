from libc.stddef cimport size_t

from zeroproxy._fast.types.meter cimport HeldEvent, Meter


cdef enum Strips:           # Exchange.strips
    STRIPS_NOT = 0
    STRIPS_EVENTS = 1       # the answer is an event stream, and something is taken out of it
    STRIPS_UNDECIDED = 2    # a stream was requested: the first bytes decide whether it is one

# Meter and strip the events in [at, at + len) in place; returns the bytes to send.
cdef size_t strip_events(
    Meter *m, int edited, HeldEvent *held, char *at, size_t len, size_t *left,
) noexcept nogil
