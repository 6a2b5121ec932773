from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t


cdef enum:
    ASKED_TEXT = 24         # bytes of a key that are kept
    EDITS_MAX = 3           # changes to one request


cdef enum Wish:             # what to ask for on the caller's behalf
    WISH_NOTHING = 0
    WISH_USAGE              # usage at the end
    WISH_RUNNING            # and with every event


cdef enum Edited:           # what was asked for, and is to be taken out of the response; or-ed
    EDITED_NOTHING = 0
    EDITED_USAGE = 1        # the closing usage event
    EDITED_RUNNING = 2      # usage beside choices


cdef struct Edit:           # bytes to write between two bytes of the body
    const char *add         # static
    uint8_t n_add
    uint8_t skip            # bytes of the body that are left out for them
    uint8_t was             # asked.Was: what stands there if the edit is taken back
    uint8_t edited          # Edited


cdef struct Asked:          # walks a request body: the root's keys, as far as the proxy cares
    uint32_t depth
    uint8_t state           # asked.AskedState
    uint8_t wish            # Wish; may change between two calls
    uint8_t key             # asked.Key of the member being read
    uint8_t text_len        # ASKED_TEXT + 1: too long to matter
    uint8_t in_options      # inside the root's stream_options
    uint8_t is_stream       # "stream": true
    uint8_t has_options     # stream_options is there, whatever its value
    uint8_t has_usage       # include_usage: true
    uint8_t has_running     # continuous_usage_stats: true
    uint8_t has_member      # stream_options is not empty
    uint8_t is_frozen       # something in it is not what we know: no edit
    uint8_t is_done         # the root has ended
    uint8_t is_escaped
    uint8_t model_len
    uint16_t n              # choices per prompt; 0: not said
    char[ASKED_TEXT] text
    char[64] model

cdef void asked_begin(Asked *a, int wish) noexcept nogil
cdef size_t asked_feed(Asked *a, const char *at, size_t len, Edit *due) noexcept nogil
cdef size_t asked_longest(int wish) noexcept nogil
cdef void edit_undo(char *at, const Edit *e) noexcept nogil
