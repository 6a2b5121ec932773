"""Edits of a request body for the terms of a key: bounds that are inserted or lowered, and
cache_salt.

Law 1. An insertion at a place depends on the bytes before it alone, and leaves legal JSON.
Law 2. A bound is lowered in place, at the same length: digits, then blanks.
Law 3. A bound that is inserted has the name of the path's API. It is inserted where no bound that
       this API knows has a number.
Tests: tests/relay/test_key_bodies.py, tests/relay/test_key_splits.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset, strlen

from zeroproxy._fast.types.key_terms cimport (
    BOUND_FAMILY_COUNT,
    BOUND_FAMILY_NONE,
    BOUND_FAMILY_TGI,
    BOUND_NAMES,
    BOUND_NAME_MAX_COMPLETION_TOKENS,
    BOUND_NAME_MAX_NEW_TOKENS,
    BOUND_NAME_MAX_OUTPUT_TOKENS,
    BOUND_NAME_MAX_TOKENS,
    BOUND_NAME_NUM_PREDICT,
    BOUND_NAME_N_PREDICT,
    CONTAINER_OPTIONS,
    CONTAINER_PARAMETERS,
    CONTAINER_ROOT,
    CONTAINER_SAMPLING_PARAMS,
    SALT_LEN,
    TERMS_PLACE_CONTAINER_END,
    TERMS_PLACE_CONTAINER_NULL,
    TERMS_PLACE_NULL,
    TERMS_PLACE_ROOT_END,
    TERMS_PLACE_SALT,
    TermsScan,
)
from zeroproxy._fast.types.meter cimport Place, RequestScan

cdef const char* NAMES[BOUND_NAMES]
NAMES[:] = [
    b'"max_tokens":', b'"max_completion_tokens":', b'"max_output_tokens":', b'"n_predict":',
    b'"num_predict":', b'"max_new_tokens":',
]
cdef const char* CONTAINERS[4]
CONTAINERS[:] = [b"", b'"options":{', b'"parameters":{', b'"sampling_params":{']

# By BoundFamily: the name that is inserted, the names that count, one bit each, their Container.
cdef uint8_t[BOUND_FAMILY_COUNT] INSERTED = [
    0, BOUND_NAME_MAX_TOKENS, BOUND_NAME_MAX_TOKENS, BOUND_NAME_MAX_OUTPUT_TOKENS,
    BOUND_NAME_N_PREDICT, BOUND_NAME_MAX_NEW_TOKENS, BOUND_NAME_NUM_PREDICT,
    BOUND_NAME_MAX_NEW_TOKENS, BOUND_NAME_MAX_TOKENS,
]
cdef uint8_t[BOUND_FAMILY_COUNT] COUNTED = [
    0, 1 << BOUND_NAME_MAX_TOKENS | 1 << BOUND_NAME_MAX_COMPLETION_TOKENS,
    1 << BOUND_NAME_MAX_TOKENS, 1 << BOUND_NAME_MAX_OUTPUT_TOKENS,
    1 << BOUND_NAME_N_PREDICT | 1 << BOUND_NAME_MAX_TOKENS, 1 << BOUND_NAME_MAX_NEW_TOKENS,
    1 << BOUND_NAME_NUM_PREDICT, 1 << BOUND_NAME_MAX_NEW_TOKENS, 1 << BOUND_NAME_MAX_TOKENS,
]
cdef uint8_t[BOUND_FAMILY_COUNT] WITHIN = [
    CONTAINER_ROOT, CONTAINER_ROOT, CONTAINER_ROOT, CONTAINER_ROOT, CONTAINER_ROOT, CONTAINER_ROOT,
    CONTAINER_OPTIONS, CONTAINER_PARAMETERS, CONTAINER_SAMPLING_PARAMS,
]


cdef size_t put_word(char *out, const char *word) noexcept nogil:
    cdef size_t n = strlen(word)
    memcpy(out, word, n)
    return n


cdef size_t put_number(char *out, uint32_t value) noexcept nogil:
    cdef char[10] digits
    cdef int i = 10
    while 1:
        i -= 1
        digits[i] = <char>(48 + value % 10)
        value //= 10
        if value == 0:
            break
    memcpy(out, &digits[i], 10 - i)
    return 10 - i


cdef size_t put_bound(const TermsScan *t, char *out) noexcept nogil:
    cdef size_t n = put_word(out, NAMES[INSERTED[t.family]])
    return n + put_number(out + n, t.inserts)


cdef bint is_within(const TermsScan *t, int container) noexcept nogil:
    """True if a bound of the family is looked for in this Container. SGLang and TGI have the same
    path."""
    if t.family == BOUND_FAMILY_TGI:
        return container == CONTAINER_PARAMETERS or container == CONTAINER_SAMPLING_PARAMS
    return container == WITHIN[t.family]


cdef size_t at_root_end(const TermsScan *t, char *out) noexcept nogil:
    cdef int container = WITHIN[t.family]
    cdef size_t n = 0
    if t.family == BOUND_FAMILY_TGI and t.is_sglang:
        container = CONTAINER_SAMPLING_PARAMS
    if container == CONTAINER_ROOT and t.names & COUNTED[t.family]:
        return 0
    if container != CONTAINER_ROOT and t.containers >> container & 1:
        return 0
    if t.has_member:
        n = put_word(out, b",")
    n += put_word(out + n, CONTAINERS[container])
    n += put_bound(t, out + n)
    return n + put_word(out + n, b"}" if container != CONTAINER_ROOT else b"")


cdef size_t at_container_end(const TermsScan *t, const Place *it, char *out) noexcept nogil:
    cdef int which = it.key - TERMS_PLACE_CONTAINER_END
    cdef size_t n = 0
    if not is_within(t, which // 2) or it.lacks & COUNTED[t.family]:
        return 0
    if which % 2 == 0:
        n = put_word(out, b",")
    return n + put_bound(t, out + n)


cdef size_t for_container_null(const TermsScan *t, const Place *it, char *out) noexcept nogil:
    cdef size_t n
    if not is_within(t, it.key - TERMS_PLACE_CONTAINER_NULL):
        return 0
    n = put_word(out, b"{")
    n += put_bound(t, out + n)
    return n + put_word(out + n, b"}")


cdef size_t for_null(const TermsScan *t, const Place *it, char *out) noexcept nogil:
    cdef int which = it.key - TERMS_PLACE_NULL
    cdef uint8_t counted = COUNTED[t.family]
    if not is_within(t, which // 8) or not counted >> which % 8 & 1 or it.lacks & counted:
        return 0
    return put_number(out, t.inserts)


cdef size_t for_salt(const TermsScan *t, char *out) noexcept nogil:
    cdef size_t n = 0
    cdef char[64] bound
    if t.has_member or (t.inserts and t.family != BOUND_FAMILY_NONE and at_root_end(t, bound)):
        n = put_word(out, b",")
    n += put_word(out + n, b'"cache_salt":"')
    memcpy(out + n, t.salt, SALT_LEN)
    n += SALT_LEN
    return n + put_word(out + n, b'"')


cdef size_t terms_edit(
    const RequestScan *a, const Place *it, char *out, uint16_t *skip
) noexcept nogil:
    cdef const TermsScan *t = &a.of_kind.terms
    skip[0] = 0
    if it.key == TERMS_PLACE_SALT:
        return for_salt(t, out) if t.salt != NULL else 0
    if t.inserts == 0 or t.family == BOUND_FAMILY_NONE:
        return 0
    if it.key == TERMS_PLACE_ROOT_END:
        return at_root_end(t, out)
    if it.key < TERMS_PLACE_CONTAINER_NULL:
        return at_container_end(t, it, out)
    skip[0] = 4
    return for_null(t, it, out) if it.key >= TERMS_PLACE_NULL else for_container_null(t, it, out)


cdef void write_lowered(char *out, uint32_t cap, size_t len) noexcept nogil:
    memset(out + put_number(out, cap), c' ', len)
