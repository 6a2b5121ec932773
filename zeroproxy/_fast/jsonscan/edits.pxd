from libc.stddef cimport size_t
from libc.stdint cimport int8_t, uint8_t, uint16_t, uint64_t

from zeroproxy._fast.types.meter cimport RequestScan


cdef enum UsageRequest:     # what to ask for on the caller's behalf
    USAGE_REQUEST_NONE = 0
    USAGE_REQUEST_FINAL     # usage at the end
    USAGE_REQUEST_RUNNING   # and with every event; the server says that only with usage at the end
    USAGE_REQUEST_RUNNING_ONLY  # the same of a server that says either without the other
    USAGE_REQUEST_TIMINGS   # llama.cpp's timings with every event, and no usage
    USAGE_REQUEST_COUNT     # always last


cdef enum Edited:           # what was asked for, and is to be taken out of the response; or-ed
    EDITED_NOTHING = 0
    EDITED_USAGE = 1        # the closing usage event
    EDITED_RUNNING = 2      # usage beside choices
    EDITED_TIMINGS = 4      # timings beside choices that go on


cdef struct Edit:           # bytes to write between two bytes of the body
    uint64_t at             # offset in the body
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
    KEY_USER                # who asks
    KEY_PROMPT              # messages and the like
    KEY_METADATA            # Anthropic names the user in there
    KEY_BOUND               # of the tokens that may be generated, in any server's words
    KEY_SAMPLING            # an object that may have one
    KEY_FIELDS              # llama.cpp's response_fields


cdef int key_of(const RequestScan *a) noexcept nogil
cdef size_t edit_bytes_max(int usage_request) noexcept nogil
cdef int unasked_running_usage(const RequestScan *a) noexcept nogil
cdef void edit_undo(char *at, size_t n, int was) noexcept nogil
cdef bint edit_due(RequestScan *a, uint64_t begin, uint64_t end, Edit *due) noexcept nogil
cdef int edit_growth(RequestScan *a, uint64_t len) noexcept nogil
