from libc.stddef cimport size_t
from libc.stdint cimport int8_t, uint8_t

from zeroproxy._fast.meter_types cimport Asked


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
    uint8_t n_add
    uint8_t skip            # bytes of the body that are left out for them
    int8_t was              # asked.Was: what stands there if the edit is taken back
    uint8_t edited          # Edited; 0: it must be made


cdef void asked_begin(Asked *a, int wish) noexcept nogil
cdef void asked_rename(Asked *a, const char *name, size_t len, size_t skip) noexcept nogil
cdef size_t asked_feed(Asked *a, const char *at, size_t len, Edit *due) noexcept nogil
cdef bint asked_is_in_model(const Asked *a) noexcept nogil
cdef size_t asked_longest(int wish) noexcept nogil
cdef int asked_woken(const Asked *a) noexcept nogil
cdef void edit_undo(char *at, size_t n, int was) noexcept nogil
