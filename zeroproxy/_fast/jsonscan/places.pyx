"""Places of a request body that are needed later: of possible edits, of the user, of the prompt.

Law. A place is noted even if no edit is made there, and depends on the bytes before it alone.
     There are PLACES_MAX at most: a member that occurs twice forbids edits in stream_options, and
     only the first model has a place. With terms of a key a body may need more, and is odd then.
Tests: tests/unit/test_request_scan.py.
"""

from libc.stdint cimport uint8_t, uint64_t

from zeroproxy._fast.jsonscan.edits cimport (
    EDITED_NOTHING,
    EDITED_RUNNING,
    EDITED_USAGE,
    KEY_MODEL,
    KEY_OPTIONS,
    KEY_OTHER,
    KEY_PROMPT,
    KEY_RUNNING,
    KEY_STREAM,
    KEY_USAGE,
    KEY_USER,
)
from zeroproxy._fast.types.key_terms cimport (
    TERMS_PLACE_FIRST,
    TERMS_READ_MAX_TOKENS,
    TERMS_READ_N,
    TERMS_READ_SALT,
)
from zeroproxy._fast.types.meter cimport PLACES_MAX, Place, RequestScan


cdef void add_place(RequestScan *a, uint64_t at, int key, char first, int lacks) noexcept nogil:
    cdef Place *it = &a.places[a.n_places]
    if a.n_places == PLACES_MAX:
        # A caller's bytes: the bound holds in every build.
        a.edits_forbidden = 1
        a.of_kind.terms.is_odd = TERMS_READ_MAX_TOKENS | TERMS_READ_N | TERMS_READ_SALT
        return
    it.at = at
    it.key = <uint8_t>key
    it.first = <uint8_t>first
    it.lacks = <uint8_t>lacks
    a.n_places += 1


cdef void note_option(RequestScan *a) noexcept nogil:
    """A member that occurs twice forbids edits."""
    cdef uint8_t mark = 1 if a.key == KEY_USAGE else 2 if a.key == KEY_RUNNING else 0
    if not a.edits_forbidden:
        a.has_member = 1
        a.edits_forbidden = (a.members & mark) != 0
        a.members |= mark


cdef void take_word(RequestScan *a, uint64_t at, char c) noexcept nogil:
    """Facts, and places of edits that replace the word."""
    if a.key == KEY_STREAM:
        a.is_stream = c == c't'
    elif c == c't':
        a.has_usage |= a.key == KEY_USAGE
        a.has_running |= a.key == KEY_RUNNING
        a.edits_forbidden |= a.key == KEY_OPTIONS
    elif a.key == KEY_OPTIONS and c == c'f':
        a.edits_forbidden = 1
    elif a.edits_forbidden:
        pass
    elif a.key == KEY_OPTIONS:
        add_place(a, at, KEY_OPTIONS, c, EDITED_USAGE | EDITED_RUNNING)
    elif a.key == KEY_USAGE or a.key == KEY_RUNNING:
        add_place(a, at, a.key, c, EDITED_USAGE if a.key == KEY_USAGE else <int>EDITED_RUNNING)
    a.key = KEY_OTHER


cdef void take_place(RequestScan *a, uint64_t at, char c) noexcept nogil:
    """Offset of a value. The key stays where the text is read as well."""
    if a.key == KEY_PROMPT and a.prompt_at == 0:
        a.prompt_at = at
        a.in_prompt = 1
    elif a.key == KEY_USER and c == c'"':
        if a.user_end == 0:
            a.user_at = at + 1
        return
    elif a.key == KEY_MODEL and c == c'"':
        if a.has_model == 0:
            add_place(a, at, KEY_MODEL, c, EDITED_NOTHING)
            a.raw_len = 0
        return
    a.key = KEY_OTHER


cdef void end_options(RequestScan *a, uint64_t at, char c) noexcept nogil:
    """The place at its end lacks the counts that have neither a member nor a place in it."""
    cdef int lacks = EDITED_NOTHING, i
    if a.edits_forbidden:
        return
    if not a.has_usage:
        lacks |= EDITED_USAGE
    if not a.has_running:
        lacks |= EDITED_RUNNING
    for i in range(a.n_places):
        if a.places[i].key < TERMS_PLACE_FIRST:
            lacks &= ~a.places[i].lacks
    add_place(a, at, KEY_OPTIONS, c, lacks)
