"""Members of a request body that the terms of a key are about: numbers that bound an answer,
choices, and cache_salt.

Law 1. A name is looked for in every case and spelling. One that is no exact match, or occurs twice,
       is odd: servers differ in what they make of it. So is a value that is no plain whole number
       and not null.
Law 2. Facts and places do not depend on the upstream, nor on the split of the body. An edit is
       chosen when the bytes before its place pass (terms_edits.pyx).
Tests: tests/relay/test_key_bodies.py, tests/relay/test_key_splits.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from zeroproxy._fast.http1.grammar cimport Cursor, is_word
from zeroproxy._fast.jsonscan.edits cimport KEY_BOUND, KEY_SAMPLING, is_count
from zeroproxy._fast.jsonscan.places cimport add_place
from zeroproxy._fast.jsonscan.string_end_and_number cimport is_equal
from zeroproxy._fast.types.key_terms cimport (
    BOUNDS_MAX,
    BOUND_DIGITS,
    BOUND_NAMES,
    CONTAINER_OPTIONS,
    CONTAINER_ROOT,
    TERMS_PLACE_ROOT_END,
    TERMS_PLACE_SALT,
    TERMS_READ_MAX_TOKENS,
    TERMS_READ_N,
    TERMS_READ_SALT,
    BoundPlace,
    TermsScan,
    container_end_place,
    container_null_place,
    null_place,
)
from zeroproxy._fast.types.meter cimport RequestScan

cdef enum Name:           # beyond the names of bounds
    NAME_N = BOUND_NAMES
    NAME_BEST_OF
    NAME_N_CMPL             # llama.cpp
    NAME_OPTIONS            # the rest has no number
    NAME_PARAMETERS
    NAME_SAMPLING_PARAMS
    NAME_CACHE_SALT
    NAME_TEXT               # of SGLang's /generate; TGI's has inputs
    NAME_INPUT_IDS
    NAME_INPUT_EMBEDS
    NAME_COUNT

cdef const char* NAMES[NAME_COUNT]
NAMES[:] = [
    b"max_tokens", b"max_completion_tokens", b"max_output_tokens", b"n_predict", b"num_predict",
    b"max_new_tokens", b"n", b"best_of", b"n_cmpl", b"options", b"parameters", b"sampling_params",
    b"cache_salt", b"text", b"input_ids", b"input_embeds",
]
cdef uint8_t[NAME_COUNT] LENGTHS = [10, 21, 17, 9, 11, 14, 1, 7, 6, 7, 10, 15, 10, 4, 9, 12]


cdef int name_of(const RequestScan *a, bint *is_exact) noexcept nogil:
    """Name of a.text, in any case; NAME_COUNT: none of these."""
    cdef size_t n = a.text_len
    cdef int k
    for k in range(NAME_COUNT):
        if LENGTHS[k] == n and is_word(<Cursor>a.text, n, NAMES[k], n):
            is_exact[0] = not a.of_kind.terms.is_escaped and is_equal(a.text, NAMES[k], n)
            return k
    return NAME_COUNT


cdef inline uint8_t reason(int name) noexcept nogil:
    """The reasons to read such a member."""
    if name < BOUND_NAMES:
        return TERMS_READ_MAX_TOKENS
    if name <= NAME_N_CMPL:
        return TERMS_READ_N
    return TERMS_READ_MAX_TOKENS | TERMS_READ_N if name <= NAME_SAMPLING_PARAMS else 0


cdef void note_number_name(TermsScan *t, int name, uint16_t *names, bint is_exact) noexcept nogil:
    if not is_exact or names[0] >> name & 1:
        t.is_odd |= reason(name)
    names[0] |= <uint16_t>(1 << name)
    t.name = <uint8_t>name


cdef void note_name(RequestScan *a) noexcept nogil:
    cdef TermsScan *t = &a.of_kind.terms
    cdef bint is_exact = 0
    cdef int name
    if a.inside:
        if a.inside == KEY_SAMPLING:
            t.is_inner_empty = 0
            name = name_of(a, &is_exact)
            if name <= NAME_N_CMPL:
                note_number_name(t, name, &t.inner_names, is_exact)
        return
    t.has_member = 1
    name = name_of(a, &is_exact)
    if name <= NAME_N_CMPL:
        note_number_name(t, name, &t.names, is_exact)
    elif name <= NAME_SAMPLING_PARAMS:
        t.container = <uint8_t>(name - NAME_OPTIONS + CONTAINER_OPTIONS)
        if not is_exact or t.containers >> t.container & 1:
            t.is_odd |= reason(name)
        t.containers |= <uint8_t>(1 << t.container)
    elif name == NAME_CACHE_SALT:
        t.has_salt = 1
    elif name < NAME_COUNT:
        t.is_sglang = 1


cdef void note_null(RequestScan *a, uint64_t at) noexcept nogil:
    cdef TermsScan *t = &a.of_kind.terms
    cdef int container = t.container if a.inside else <int>CONTAINER_ROOT
    if a.key == KEY_SAMPLING:
        add_place(a, at, container_null_place(t.container), c'n', 0)
    elif a.key == KEY_BOUND:
        add_place(
            a, at, null_place(container, t.name), c'n', t.inner_values if a.inside else t.values
        )


cdef void note_value(RequestScan *a, uint64_t at, char c) noexcept nogil:
    cdef TermsScan *t = &a.of_kind.terms
    if a.key == KEY_SAMPLING and c == c'{':
        t.is_inner_empty = 1
        t.inner_names = t.inner_values = 0
    elif c == c'n' and (is_count(a.key) or a.key == KEY_SAMPLING):
        note_null(a, at)
    elif a.key == KEY_SAMPLING:
        t.is_odd |= TERMS_READ_MAX_TOKENS | TERMS_READ_N
    elif is_count(a.key):
        t.number_at = at
        t.in_number = a.key == KEY_BOUND and c'0' <= c <= c'9'
        if not c'0' <= c <= c'9':
            t.is_odd |= reason(t.name)
        elif a.key == KEY_BOUND and a.inside:
            t.inner_values |= <uint8_t>(1 << t.name)
        elif a.key == KEY_BOUND:
            t.values |= <uint8_t>(1 << t.name)


cdef bint plain_number(const char *at, size_t n, uint64_t *value) noexcept nogil:
    """True for digits without a zero in front; `value` is UINT32_MAX for all that is as large."""
    cdef size_t k
    value[0] = 0
    if n == 0 or n > BOUND_DIGITS or (at[0] == c'0' and n > 1):
        return 0
    for k in range(n):
        if not c'0' <= at[k] <= c'9':
            return 0
        value[0] = min(value[0] * 10 + <uint64_t>(at[k] - c'0'), <uint64_t>0xFFFFFFFF)
    return 1


cdef void note_number(RequestScan *a) noexcept nogil:
    cdef TermsScan *t = &a.of_kind.terms
    cdef BoundPlace *it
    cdef uint64_t value
    t.in_number = 0
    if not plain_number(a.text, a.text_len, &value):
        t.is_odd |= reason(t.name)
    elif a.key != KEY_BOUND:
        t.n_most = <uint16_t>max(t.n_most, min(value, <uint64_t>0xFFFF))
    elif t.n_bounds == BOUNDS_MAX:
        t.is_odd |= TERMS_READ_MAX_TOKENS
    else:
        it = &t.bounds[t.n_bounds]
        it.at = t.number_at
        it.value = <uint32_t>value
        it.len = a.text_len
        t.n_bounds += 1


cdef void end_container(RequestScan *a, uint64_t at, char c) noexcept nogil:
    cdef const TermsScan *t = &a.of_kind.terms
    if t.reads & TERMS_READ_MAX_TOKENS:
        add_place(
            a, at, container_end_place(t.container, t.is_inner_empty), c, <uint8_t>t.inner_names
        )


cdef void end_root(RequestScan *a, uint64_t at, char c) noexcept nogil:
    cdef int reads = a.of_kind.terms.reads
    if reads & TERMS_READ_MAX_TOKENS:
        add_place(a, at, TERMS_PLACE_ROOT_END, c, 0)
    if reads & TERMS_READ_SALT:
        add_place(a, at, TERMS_PLACE_SALT, c, 0)
