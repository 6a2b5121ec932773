from libc.stddef cimport size_t
from libc.stdint cimport int8_t, uint8_t, uint16_t

from zeroproxy._fast.types.meter cimport Asked


cdef enum Wish:             # what to ask for on the caller's behalf
    WISH_NOTHING = 0
    WISH_USAGE              # usage at the end
    WISH_RUNNING            # and with every event; the server says that only with usage at the end
    WISH_RUNNING_ALONE      # the same of a server that says either without the other
    WISH_TIMINGS            # llama.cpp's timings with every event, and no usage


cdef enum Edited:           # what was asked for, and is to be taken out of the response; or-ed
    EDITED_NOTHING = 0
    EDITED_USAGE = 1        # the closing usage event
    EDITED_RUNNING = 2      # usage beside choices
    EDITED_TIMINGS = 4      # timings beside choices that go on


cdef struct Edit:           # bytes to write between two bytes of the body
    const char *add         # static
    uint16_t n_add
    uint16_t skip           # bytes of the body that are left out for them
    int8_t was              # edits.Was: what stands there if the edit is taken back
    uint8_t edited          # Edited; 0: it must be made


cdef enum Key:              # members of a request that matter
    KEY_OTHER = 0
    KEY_MODEL
    KEY_STREAM
    KEY_N
    KEY_OPTIONS
    KEY_USAGE
    KEY_RUNNING
    KEY_TIMINGS             # llama.cpp's timings_per_token


cdef int key_of(const Asked *a) noexcept nogil
cdef size_t asked_longest(int wish) noexcept nogil
cdef int asked_woken(const Asked *a) noexcept nogil
cdef void edit_undo(char *at, size_t n, int was) noexcept nogil
cdef void offer_at_end(Asked *a, Edit *due) noexcept nogil
cdef void offer_in_options(Asked *a, Edit *due) noexcept nogil
cdef void offer_for_value(Asked *a, char first, Edit *due) noexcept nogil
cdef void offer_name(Asked *a, Edit *due) noexcept nogil
