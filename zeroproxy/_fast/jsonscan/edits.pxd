from libc.stddef cimport size_t
from libc.stdint cimport int8_t, uint8_t, uint16_t, uint64_t

from zeroproxy._fast.jsonscan.terms_edits cimport TERMS_EDIT_MAX
from zeroproxy._fast.types.meter cimport RequestScan


cdef enum UsageRequest:     # counts that the proxy requests on the caller's behalf
    USAGE_REQUEST_NONE = 0
    USAGE_REQUEST_FINAL     # usage at the end
    USAGE_REQUEST_RUNNING   # and with every event, from a server that needs both options for it
    USAGE_REQUEST_RUNNING_ONLY  # the same from a server that takes either option alone
    USAGE_REQUEST_TIMINGS   # llama.cpp's timings with every event, and no usage
    USAGE_REQUEST_COUNT     # always last


cdef enum Edited:           # counts requested by edits, to be stripped from the response; or-ed
    EDITED_NOTHING = 0
    EDITED_USAGE = 1        # the closing usage event
    EDITED_RUNNING = 2      # usage beside choices
    EDITED_TIMINGS = 4      # timings beside choices that go on


cdef struct Edit:           # bytes to write between two bytes of the body
    uint64_t at             # offset in the body
    const char *add         # static, the route's, or `text`
    uint16_t n_add
    uint16_t skip           # bytes of the body that are left out for them
    int8_t was              # edits.Was: the text that returns if the edit is undone
    uint8_t edited          # Edited; 0: it must be made
    char[TERMS_EDIT_MAX] text


cdef enum Key:              # members of a request that matter
    KEY_OTHER = 0
    KEY_MODEL
    KEY_STREAM
    KEY_N
    KEY_OPTIONS
    KEY_USAGE
    KEY_RUNNING
    KEY_TIMINGS             # llama.cpp's timings_per_token
    KEY_USER                # an identifier of the caller
    KEY_PROMPT              # messages and the like
    KEY_METADATA            # Anthropic: the object that has the user
    KEY_BOUND               # of the tokens that may be generated, in any server's spelling
    KEY_SAMPLING            # an object that may have a bound
    KEY_FIELDS              # llama.cpp's response_fields
    KEY_CHOICES             # best_of and the like, for a key that limits n


cdef inline bint is_count(int key) noexcept nogil:
    """True if the value of a member of this Key is a number."""
    return key == KEY_N or key == KEY_BOUND or key == KEY_CHOICES


# ---- members

# Key of the member whose name is in a.text, at the level that a.inside tells.
cdef int key_of(const RequestScan *a) noexcept nogil

# ---- edits

# Upper bound of the bytes that the edits for a UsageRequest add to one body.
cdef size_t edit_bytes_max(int usage_request) noexcept nogil
# Next edit in [begin, end) of a body read up to `end`, into `due`; false if there is none. Each is
# offered once; what `due` points to is static, the route's, or its own.
cdef bint edit_due(RequestScan *a, uint64_t begin, uint64_t end, Edit *due) noexcept nogil
# Bytes by which the edits lengthen a body of `len` bytes, all of it read.
cdef int edit_growth(RequestScan *a, uint64_t len) noexcept nogil
# Undo an edit in place: `n` bytes at `at`, whose Edit.was is `was`.
cdef void edit_undo(char *at, size_t n, int was) noexcept nogil
# Edited flags of counts that the server sends besides those requested by an edit.
cdef int unrequested_running_usage(const RequestScan *a) noexcept nogil
