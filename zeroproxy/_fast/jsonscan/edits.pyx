"""Edits that request usage on a caller's behalf, and their undoing.

Law 1. An edit is legal JSON where it is offered. No member ends up twice, unless the caller's value
       has a wrong type: then the proxy's member comes last, and the last one counts.
Law 2. An edit at a place depends on the bytes before it alone, so no split changes it.
Law 3. Every edit that requests usage can be undone in place, at the same length. Blanks mean
       nothing between two tokens of JSON, and behind the text.
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
    KEY_CHOICES,
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
from zeroproxy._fast.jsonscan.string_end_and_number cimport is_equal
from zeroproxy._fast.jsonscan.terms_edits cimport terms_edit
from zeroproxy._fast.types.key_terms cimport TERMS_PLACE_FIRST
from zeroproxy._fast.types.meter cimport Place, RequestScan


cdef enum Was:              # the text that an edit replaced
    WAS_RENAMED = -1        # another name of the model, or a term of a key: never undone
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
    if usage_request == USAGE_REQUEST_NONE:
        return 0
    if usage_request == USAGE_REQUEST_TIMINGS:
        return strlen(TIMINGS)
    return strlen(OPTIONS_RUNNING if usage_request >= USAGE_REQUEST_RUNNING else OPTIONS)


cdef int unrequested_running_usage(const RequestScan *a) noexcept nogil:
    """Some servers put usage beside the last choice, if EDITED_USAGE was added. It is the caller's
    if the caller requested running usage, and that alone would have brought it."""
    if a.has_running and a.usage_request != USAGE_REQUEST_RUNNING:
        return 0
    return EDITED_RUNNING


cdef void edit_undo(char *at, size_t n, int was) noexcept nogil:
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
    """Key of a name that only quotas and terms read, in the root or in a KEY_SAMPLING object."""
    if is_text(a, b"max_tokens", 10) or is_text(a, b"max_completion_tokens", 21) \
            or is_text(a, b"max_output_tokens", 17) or is_text(a, b"n_predict", 9) \
            or is_text(a, b"max_new_tokens", 14):
        return KEY_BOUND
    if a.of_kind.terms.reads and (is_text(a, b"best_of", 7) or is_text(a, b"n_cmpl", 6)):
        return KEY_CHOICES
    if a.inside == KEY_SAMPLING:
        if is_text(a, b"num_predict", 11):
            return KEY_BOUND
        return KEY_N if is_text(a, b"n", 1) else <int>KEY_OTHER
    if is_text(a, b"options", 7) or is_text(a, b"parameters", 10) \
            or is_text(a, b"sampling_params", 15):
        return KEY_SAMPLING
    return KEY_FIELDS if is_text(a, b"response_fields", 15) else <int>KEY_OTHER


cdef int key_of_root(const RequestScan *a) noexcept nogil:
    """OpenAI identifies the caller in user, prompt_cache_key or safety_identifier."""
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
    return bound_key_of(a) if a.reads_bound or a.of_kind.terms.reads else <int>KEY_OTHER


cdef int key_of(const RequestScan *a) noexcept nogil:
    if a.inside == KEY_OPTIONS:
        if is_text(a, b"include_usage", 13):
            return KEY_USAGE
        return KEY_RUNNING if is_text(a, b"continuous_usage_stats", 22) else <int>KEY_OTHER
    if a.inside == KEY_METADATA:
        return KEY_USER if is_text(a, b"user_id", 7) else <int>KEY_OTHER
    if a.inside == KEY_SAMPLING:
        return bound_key_of(a)
    return key_of_root(a)


# ---------------------------------------------------------------- offers


cdef void offer(Edit *due, const char *add, int was, int edited) noexcept nogil:
    due.add = add
    due.n_add = <uint16_t>strlen(add)
    due.was = <signed char>was
    due.skip = 5 if was == WAS_FALSE else 4 if was == WAS_NULL else 0
    due.edited = <unsigned char>edited


cdef int wanted(const RequestScan *a, const Place *it) noexcept nogil:
    """Edited flags of the counts still to be requested at a place."""
    if a.usage_request == USAGE_REQUEST_NONE or a.usage_request == USAGE_REQUEST_TIMINGS:
        return EDITED_NOTHING
    return it.lacks if a.usage_request >= USAGE_REQUEST_RUNNING else it.lacks & EDITED_USAGE


cdef void offer_at_end(const RequestScan *a, Edit *due) noexcept nogil:
    """Edit before the closing brace of the root of a request for a stream."""
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
    """Edit before the closing brace of stream_options."""
    offer(
        due, USAGE if edited == EDITED_USAGE else RUNNING if edited == EDITED_RUNNING else BOTH,
        WAS_NOTHING, edited,
    )
    if not a.has_member:
        due.add += 1
        due.n_add -= 1


cdef void offer_name(const RequestScan *a, Edit *due) noexcept nogil:
    """Edit where the model's name begins, if the server has another name for it."""
    due.add = a.rename
    due.n_add = a.rename_len
    due.skip = a.rename_skip
    due.was = WAS_RENAMED
    due.edited = EDITED_NOTHING


cdef void offer_term(const RequestScan *a, const Place *it, Edit *due) noexcept nogil:
    due.add = due.text
    due.n_add = <uint16_t>terms_edit(a, it, due.text, &due.skip)
    due.was = WAS_RENAMED
    due.edited = EDITED_NOTHING


cdef void offer_at(const RequestScan *a, const Place *it, Edit *due) noexcept nogil:
    """Edit at a place; due.n_add == 0: none."""
    cdef bint is_running
    cdef int edited = wanted(a, it)
    cdef bint is_null = it.first == c'n'
    due.at = it.at
    due.n_add = 0
    if it.key == KEY_MODEL:
        offer_name(a, due)
    elif it.key >= TERMS_PLACE_FIRST:
        offer_term(a, it, due)
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
    """A place before `begin` was left out for another edit."""
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
    """Sum of the edits. If there are none, the places count as passed."""
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
        # A word that is cut by the end of the body leaves less out.
        at = due.at + min(<uint64_t>due.skip, len - due.at)
        added += due.n_add - <int>(at - due.at)
        is_edited = 1
    if is_edited:
        a.n_passed = n_passed
    return added
