"""The edits that ask for usage on a caller's behalf, and how they are taken back.

Law 1. An edit is legal JSON where it is offered, and no member ends up twice, unless the caller's
       own has a value of another type than it should: then ours comes last, which counts.
       What is offered at a place depends on the bytes before it alone, so no split changes it.
Law 2. Every edit can be taken back in place, at the same length: blanks are as good as nothing
       between two tokens of JSON, and behind the text.
Tests: tests/unit/test_request_scan.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy, memset, strlen

from zeroproxy._fast.jsonscan.edits cimport (
    EDITED_NOTHING,
    EDITED_RUNNING,
    EDITED_TIMINGS,
    EDITED_USAGE,
    KEY_BOUND,
    KEY_FIELDS,
    KEY_METADATA,
    KEY_MODEL,
    KEY_N,
    KEY_OPTIONS,
    KEY_OTHER,
    KEY_PROMPT,
    KEY_RUNNING,
    KEY_SAMPLING,
    KEY_STREAM,
    KEY_TIMINGS,
    KEY_USAGE,
    KEY_USER,
    USAGE_REQUEST_NONE,
    USAGE_REQUEST_RUNNING,
    USAGE_REQUEST_TIMINGS,
    Edit,
)
from zeroproxy._fast.jsonscan.tokens cimport is_equal
from zeroproxy._fast.types.meter cimport Place, RequestScan


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
    some put usage beside the last choice. It is the caller's if that asked for running usage, and
    this alone would have moved the server."""
    if a.has_running and a.usage_request != USAGE_REQUEST_RUNNING:
        return 0
    return EDITED_RUNNING


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
    if a.inside == KEY_SAMPLING:
        if is_text(a, b"num_predict", 11):
            return KEY_BOUND
        return KEY_N if is_text(a, b"n", 1) else <int>KEY_OTHER
    if is_text(a, b"options", 7) or is_text(a, b"parameters", 10) \
            or is_text(a, b"sampling_params", 15):
        return KEY_SAMPLING
    return KEY_FIELDS if is_text(a, b"response_fields", 15) else <int>KEY_OTHER


cdef int key_of_root(const RequestScan *a) noexcept nogil:
    """OpenAI names who asks in user, prompt_cache_key or safety_identifier."""
    if is_text(a, b"model", 5):
        return KEY_MODEL
    if is_text(a, b"stream", 6):
        return KEY_STREAM
    if is_text(a, b"messages", 8) or is_text(a, b"prompt", 6) or is_text(a, b"input", 5):
        return KEY_PROMPT
    if is_text(a, b"n", 1):
        return KEY_N
    if is_text(a, b"user", 4) or is_text(a, b"prompt_cache_key", 16) \
            or is_text(a, b"safety_identifier", 17):
        return KEY_USER
    if is_text(a, b"metadata", 8):
        return KEY_METADATA
    if is_text(a, b"timings_per_token", 17):
        return KEY_TIMINGS
    if is_text(a, b"stream_options", 14):
        return KEY_OPTIONS
    return bound_key_of(a) if a.reads_bound else <int>KEY_OTHER


cdef int key_of(const RequestScan *a) noexcept nogil:
    """Key of the member whose name a.text is."""
    if a.inside == KEY_OPTIONS:
        if is_text(a, b"include_usage", 13):
            return KEY_USAGE
        return KEY_RUNNING if is_text(a, b"continuous_usage_stats", 22) else <int>KEY_OTHER
    if a.inside == KEY_METADATA:
        return KEY_USER if is_text(a, b"user_id", 7) else <int>KEY_OTHER
    return key_of_root(a)


# ---------------------------------------------------------------- offers


cdef void offer(Edit *due, const char *add, int was, int edited) noexcept nogil:
    due.add = add
    due.n_add = <uint16_t>strlen(add)
    due.was = <signed char>was
    due.skip = 5 if was == WAS_FALSE else 4 if was == WAS_NULL else 0
    due.edited = <unsigned char>edited


cdef int wanted(const RequestScan *a, const Place *it) noexcept nogil:
    """What is still to be asked for there, as Edited."""
    if a.usage_request == USAGE_REQUEST_NONE or a.usage_request == USAGE_REQUEST_TIMINGS:
        return EDITED_NOTHING
    return it.lacks if a.usage_request >= USAGE_REQUEST_RUNNING else it.lacks & EDITED_USAGE


cdef void offer_at_end(const RequestScan *a, Edit *due) noexcept nogil:
    """The root of a request for a stream is about to end."""
    if a.usage_request == USAGE_REQUEST_NONE:
        return
    if a.usage_request == USAGE_REQUEST_TIMINGS:
        if not a.edits_forbidden and not a.has_timings:
            offer(due, TIMINGS, WAS_NOTHING, EDITED_TIMINGS)
    elif a.has_options:
        return
    elif a.usage_request >= USAGE_REQUEST_RUNNING:
        offer(due, OPTIONS_RUNNING, WAS_NOTHING, EDITED_USAGE | EDITED_RUNNING)
    else:
        offer(due, OPTIONS, WAS_NOTHING, EDITED_USAGE)


cdef void offer_in_options(const RequestScan *a, int edited, Edit *due) noexcept nogil:
    """stream_options is about to end."""
    offer(
        due, USAGE if edited == EDITED_USAGE else RUNNING if edited == EDITED_RUNNING else BOTH,
        WAS_NOTHING, edited,
    )
    if not a.has_member:
        due.add += 1
        due.n_add -= 1


cdef void offer_name(const RequestScan *a, Edit *due) noexcept nogil:
    """The model's name is about to begin, and the server calls it something else."""
    due.add = a.rename
    due.n_add = a.rename_len
    due.skip = a.rename_skip
    due.was = WAS_RENAMED
    due.edited = EDITED_NOTHING


cdef void offer_at(const RequestScan *a, const Place *it, Edit *due) noexcept nogil:
    """due.n_add == 0: nothing is due there."""
    cdef bint is_running
    cdef int edited = wanted(a, it)
    cdef bint is_null = it.first == c'n'
    due.at = it.at
    due.n_add = 0
    if it.key == KEY_MODEL:
        offer_name(a, due)
    elif it.key == KEY_OTHER:
        offer_at_end(a, due)
    elif edited == EDITED_NOTHING:
        return
    elif it.key != KEY_OPTIONS:
        offer(
            due, TRUE_FOR_NULL if is_null else TRUE_FOR_FALSE, WAS_NULL if is_null else WAS_FALSE,
            edited,
        )
    elif is_null:
        is_running = a.usage_request >= USAGE_REQUEST_RUNNING
        offer(due, OBJECT_RUNNING if is_running else OBJECT, WAS_NULL, edited)
    else:
        offer_in_options(a, edited, due)


cdef bint edit_due(RequestScan *a, uint64_t begin, uint64_t end, Edit *due) noexcept nogil:
    """The next edit in [begin, end) of the body, which was read up to `end`; each is offered once.
    0: there is none. A place before `begin` was left out for another edit."""
    cdef const Place *it
    while a.n_passed < a.n_places:
        it = &a.places[a.n_passed]
        if it.at >= end:
            return 0
        a.n_passed += 1
        if it.at < begin or (it.key == KEY_MODEL and a.rename_len == 0):
            continue
        offer_at(a, it, due)
        if due.n_add:
            return 1
    return 0


cdef int edit_growth(RequestScan *a, uint64_t len) noexcept nogil:
    """How many bytes the edits of a body of `len` bytes, which was read, will add. If there are
    none, none is looked for any more."""
    cdef uint8_t n_passed = a.n_passed
    cdef bint is_edited = 0
    cdef Edit due
    cdef uint64_t at = 0
    cdef int added = 0
    if a.n_places == 1 and a.rename_len == 0 and a.places[0].key == KEY_MODEL:
        # The usual request: its model keeps its name.
        a.n_passed = 1
        return 0
    while edit_due(a, at, len, &due):
        # A word that breaks off with the body leaves less out.
        at = due.at + min(<uint64_t>due.skip, len - due.at)
        added += due.n_add - <int>(at - due.at)
        is_edited = 1
    if is_edited:
        a.n_passed = n_passed
    return added
