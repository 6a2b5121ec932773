"""The edits that ask for usage on a caller's behalf, and how they are taken back.

Law 1. An edit is legal JSON where it is offered, and no member ends up twice, unless the caller's
       own has a value of another type than it should: then ours comes last, which counts.
Law 2. Every edit can be taken back in place, at the same length: blanks are as good as nothing
       between two tokens of JSON, and behind the text.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint16_t
from libc.string cimport memcpy, memset, strlen

from zeroproxy._fast.jsonscan.edits cimport (
    EDITED_RUNNING,
    EDITED_TIMINGS,
    EDITED_USAGE,
    KEY_BOUND,
    KEY_FIELDS,
    KEY_MODEL,
    KEY_N,
    KEY_OPTIONS,
    KEY_OTHER,
    KEY_RUNNING,
    KEY_SAMPLING,
    KEY_STREAM,
    KEY_TIMINGS,
    KEY_USAGE,
    USAGE_REQUEST_NONE,
    USAGE_REQUEST_RUNNING,
    USAGE_REQUEST_TIMINGS,
    Edit,
)
from zeroproxy._fast.jsonscan.tokens cimport is_equal
from zeroproxy._fast.types.meter cimport RequestScan


cdef enum Was:              # what an edit replaced
    WAS_RENAMED = -1        # another name of the model: it stays
    WAS_NOTHING = 0
    WAS_FALSE
    WAS_NULL

cdef const char *OPTIONS = b',"stream_options":{"include_usage":true}'
cdef const char *OPTIONS_RUNNING = (
    b',"stream_options":{"include_usage":true,"continuous_usage_stats":true}'
)
cdef const char *TIMINGS = b',"timings_per_token":true'
cdef const char *OBJECT = b'{"include_usage":true}'
cdef const char *OBJECT_RUNNING = b'{"include_usage":true,"continuous_usage_stats":true}'
cdef const char *USAGE = b',"include_usage":true'
cdef const char *RUNNING = b',"continuous_usage_stats":true'
cdef const char *BOTH = b',"include_usage":true,"continuous_usage_stats":true'
cdef const char *TRUE_FOR_FALSE = b"true "
cdef const char *TRUE_FOR_NULL = b"true"


cdef size_t edit_bytes_max(int usage_request) noexcept nogil:
    """How many bytes the edits of one request can add at most."""
    if usage_request == USAGE_REQUEST_NONE:
        return 0
    if usage_request == USAGE_REQUEST_TIMINGS:
        return strlen(TIMINGS)
    return strlen(OPTIONS_RUNNING if usage_request >= USAGE_REQUEST_RUNNING else OPTIONS)


cdef int unasked_running_usage(const RequestScan *a) noexcept nogil:
    """What the edit of EDITED_USAGE makes the server send besides the closing event, as Edited:
    some put usage beside the last choice. It is the caller's if he asked for running usage, and his
    words alone would have moved the server."""
    return 0 if a.caller_asks_running and a.usage_request != USAGE_REQUEST_RUNNING else EDITED_RUNNING


cdef void edit_undo(char *at, size_t n, int was) noexcept nogil:
    """Take back an edit of `n` bytes that begins at `at`; `was`: Edit.was."""
    if was == WAS_RENAMED:
        return
    memset(at, c' ', n)
    if was == WAS_FALSE:
        memcpy(at, b"false", 5)
    elif was == WAS_NULL:
        memcpy(at, b"null", 4)


cdef inline bint is_text(const RequestScan *a, const char *word, size_t n) noexcept nogil:
    return a.text_len == n and is_equal(a.text, word, n)


cdef int bound_key_of(const RequestScan *a) noexcept nogil:
    """Key of a name in the root, or in an object there, that is none of the others."""
    if is_text(a, b"max_tokens", 10) or is_text(a, b"max_completion_tokens", 21) \
            or is_text(a, b"max_output_tokens", 17) or is_text(a, b"n_predict", 9) \
            or is_text(a, b"max_new_tokens", 14):
        return KEY_BOUND
    if a.in_sampling:
        if is_text(a, b"num_predict", 11):
            return KEY_BOUND
        return KEY_N if is_text(a, b"n", 1) else <int>KEY_OTHER
    if is_text(a, b"options", 7) or is_text(a, b"parameters", 10) \
            or is_text(a, b"sampling_params", 15):
        return KEY_SAMPLING
    return KEY_FIELDS if is_text(a, b"response_fields", 15) else <int>KEY_OTHER


cdef int key_of(const RequestScan *a) noexcept nogil:
    """Key of the member whose name a.text is."""
    if a.in_options:
        if is_text(a, b"include_usage", 13):
            return KEY_USAGE
        return KEY_RUNNING if is_text(a, b"continuous_usage_stats", 22) else <int>KEY_OTHER
    if a.in_sampling:
        return bound_key_of(a)
    if is_text(a, b"model", 5):
        return KEY_MODEL
    if is_text(a, b"stream", 6):
        return KEY_STREAM
    if is_text(a, b"n", 1):
        return KEY_N
    if is_text(a, b"timings_per_token", 17):
        return KEY_TIMINGS
    if is_text(a, b"stream_options", 14):
        return KEY_OPTIONS
    return bound_key_of(a) if a.reads_bound else <int>KEY_OTHER


# ---------------------------------------------------------------- offers


cdef void offer(RequestScan *a, Edit *due, const char *add, int was, int edited) noexcept nogil:
    due.add = add
    due.n_add = <uint16_t>strlen(add)
    due.was = <signed char>was
    due.skip = 5 if was == WAS_FALSE else 4 if was == WAS_NULL else 0
    due.edited = <unsigned char>edited


cdef int wanted(const RequestScan *a) noexcept nogil:
    """What is still to be asked for, as Edited."""
    cdef int edited = 0
    if a.usage_request == USAGE_REQUEST_NONE or a.usage_request == USAGE_REQUEST_TIMINGS or a.edits_forbidden:
        return 0
    if not a.has_usage:
        edited = EDITED_USAGE
    if a.usage_request >= USAGE_REQUEST_RUNNING and not a.has_running:
        edited |= EDITED_RUNNING
    return edited


cdef void offer_at_end(RequestScan *a, Edit *due) noexcept nogil:
    """The root is about to end."""
    if a.usage_request == USAGE_REQUEST_TIMINGS and a.is_stream and not a.edits_forbidden and not a.has_timings:
        offer(a, due, TIMINGS, WAS_NOTHING, EDITED_TIMINGS)
        return
    if not a.is_stream or a.has_options or not wanted(a):
        return
    if a.usage_request >= USAGE_REQUEST_RUNNING:
        offer(a, due, OPTIONS_RUNNING, WAS_NOTHING, EDITED_USAGE | EDITED_RUNNING)
    else:
        offer(a, due, OPTIONS, WAS_NOTHING, EDITED_USAGE)


cdef void offer_in_options(RequestScan *a, Edit *due) noexcept nogil:
    """stream_options is about to end."""
    cdef int edited = wanted(a)
    if edited == 0:
        return
    offer(
        a, due, USAGE if edited == EDITED_USAGE else RUNNING if edited == EDITED_RUNNING else BOTH,
        WAS_NOTHING, edited,
    )
    if not a.has_member:
        due.add += 1
        due.n_add -= 1


cdef void offer_for_value(RequestScan *a, char first, Edit *due) noexcept nogil:
    """A member of stream_options, or itself, begins with a letter: true, false or null."""
    cdef int was = WAS_FALSE if first == c'f' else <int>WAS_NULL
    if a.key == KEY_OPTIONS:
        if first == c'n' and wanted(a):
            offer(a, due, OBJECT_RUNNING if a.usage_request >= USAGE_REQUEST_RUNNING else OBJECT, was, wanted(a))
        return
    if a.key == KEY_USAGE and first != c't' and wanted(a) & EDITED_USAGE:
        offer(a, due, TRUE_FOR_FALSE if first == c'f' else TRUE_FOR_NULL, was, EDITED_USAGE)
    elif a.key == KEY_RUNNING and first != c't' and wanted(a) & EDITED_RUNNING:
        offer(a, due, TRUE_FOR_FALSE if first == c'f' else TRUE_FOR_NULL, was, EDITED_RUNNING)


cdef void offer_name(RequestScan *a, Edit *due) noexcept nogil:
    """The model's name is about to begin, and the server calls it something else."""
    due.add = a.rename
    due.n_add = a.rename_len
    due.skip = a.rename_skip
    due.was = WAS_RENAMED
    due.edited = 0
    a.rename_len = 0
    a.key = KEY_OTHER
