from libc.stddef cimport size_t
from libc.stdint cimport uint32_t

from zeroproxy._fast.types.meter cimport Meter, Tokens


cdef enum Kind:             # of a response body
    KIND_NONE = 0           # nothing to read in it
    KIND_EVENTS             # text/event-stream
    KIND_LINES              # JSON texts, each ended by LF or NUL
    KIND_JSON               # one JSON text
    KIND_FRAMES             # WebSocket messages, each a JSON text


cdef enum Finish:
    FINISH_UNKNOWN = 0      # not metered
    FINISH_DONE             # the dialect's own end was seen
    FINISH_ERROR            # the server reported an error
    FINISH_CUT              # the body ended before that
    FINISH_COUNT            # always last


cdef struct Event:          # one whole event, as meter_event found it
    uint32_t usage_at       # root usage or timings: offset of the comma or brace before; 0: none
    uint32_t usage_end      # behind its value
    unsigned char is_usage_only     # usage without a choice, and nothing else
    unsigned char ends_choice
    unsigned char is_timings    # it is timings, beside a choice that goes on

# Start a meter for a body of `kind`.
cdef void meter_begin(Meter *m, int kind) noexcept nogil
# Read `len` > 0 bytes of the body, in any split.
cdef void meter_feed(Meter *m, const char *at, size_t len) noexcept nogil
# Read one event, from edge to edge; returns the place of the first edge in it.
cdef size_t meter_event(Meter *m, const char *at, size_t len, Event *e) noexcept nogil
# Read the rest of an event whose start went by; returns the bytes read.
cdef size_t meter_resync(Meter *m, const char *at, size_t len) noexcept nogil
# Length of the event that begins at `at` and ends with an empty line; 0: its end is not here.
cdef size_t event_end(const char *at, size_t len) noexcept nogil
# Change the kind of the body, before its first byte.
cdef void meter_switch(Meter *m, int kind) noexcept nogil
# A body that ends here ends in the middle of an event, a line or a JSON text.
cdef bint meter_is_inside(const Meter *m) noexcept nogil
# Fill `tokens` at the end of the response; returns its Exactness.
cdef int meter_end(Meter *m, bint is_whole, int status, Tokens *tokens) noexcept nogil
# Finish of the response, after meter_end.
cdef int meter_finish_of(const Meter *m, bint is_whole, int status) noexcept nogil
