from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t


cdef enum:
    ASKED_TEXT = 24         # bytes of a key that are kept
    EDIT_MAX = 80           # bytes an edit can add: limits.pyx of a request's length rely on it


cdef enum Wish:             # what to ask for on the caller's behalf
    WISH_NOTHING = 0
    WISH_USAGE              # usage at the end
    WISH_RUNNING            # and with every event


cdef enum Edited:           # what was done to the request, and must be undone in the response
    EDIT_NONE = 0
    EDIT_USAGE = 1          # the closing usage event was not asked for by the caller
    EDIT_RUNNING = 2        # nor usage beside choices


cdef struct Asked:          # walks a request body; knows nothing of the response
    uint32_t depth
    uint8_t state           # asked.AskedState
    uint8_t wish            # Wish
    uint8_t edited          # Edited, or-ed
    uint8_t key             # asked.Key of the member being read
    uint8_t key_len
    uint8_t in_options      # inside the root's stream_options
    uint8_t is_stream       # "stream": true was seen
    uint8_t has_options     # stream_options was seen, whatever its value
    uint8_t has_usage       # include_usage: true
    uint8_t has_running     # continuous_usage_stats was seen
    uint8_t is_empty        # nothing in stream_options yet
    uint8_t is_bad          # no JSON object, or one we do not touch
    uint8_t is_done         # the root has ended
    uint8_t skip            # bytes of the body that an edit replaces, to come
    uint8_t n_add           # bytes of the edit that is due
    uint8_t had_backslash
    uint8_t model_len
    uint16_t n              # choices; 0: not said
    uint32_t edit_len       # bytes all edits added, less those they replaced
    char[ASKED_TEXT] text
    char[EDIT_MAX] add      # the edit that is due
    char[64] model

cdef void asked_begin(Asked *a, int wish) noexcept nogil
cdef size_t asked_feed(Asked *a, const char *at, size_t len) noexcept nogil
