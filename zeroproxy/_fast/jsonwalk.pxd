from libc.stddef cimport size_t

from zeroproxy._fast.meter_types cimport Meter, Walk


cdef enum Place:            # what a level or a value means to us
    PLACE_NONE = 0
    PLACE_ROOT
    PLACE_CARRIER           # message, response: may hold usage and model
    PLACE_CHOICES
    PLACE_CHOICE            # an element of choices
    PLACE_USAGE
    PLACE_DETAILS           # *_tokens_details
    PLACE_MODEL             # values
    PLACE_INDEX
    PLACE_PROMPT
    PLACE_COMPLETION
    PLACE_CACHED
    PLACE_REASONING

cdef void walk_begin(Walk *w) noexcept nogil
cdef void walk_feed(Meter *m, const char *at, size_t len) noexcept nogil
