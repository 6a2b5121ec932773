"""Tokens whose verdict is known, so that each is verified once (policy/tokens.py).

Law 1. A token is known by a MAC of its text (include/siphash.h) under a secret of this process. So
       no caller can choose its place, or make another text that is taken for it. No text is kept.
Law 2. Both tables are bounded. A verdict may be forgotten at any time: the token is verified again.
Law 3. Refused tokens have a table of their own: garbage pushes out no good token.
Tests: tests/relay/test_tokens.py, tests/unit/test_siphash.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy, memset

from zeroproxy._fast.tenants.token_table cimport TOKENS_KNOWN, TOKENS_REFUSED, TOKEN_WAYS
from zeroproxy._fast.types.key_and_quota cimport ApiKey
from zeroproxy._fast.types.token cimport TAG, TOKEN_MAX, Token, TokenTable


cdef extern from "siphash.h" nogil:
    void zp_siphash128(const void *at, size_t n, const uint64_t *secret, uint8_t *tag) noexcept
    bint zp_same16(const uint8_t *a, const uint8_t *b) noexcept


cdef bint is_token(const char *at, size_t n) noexcept nogil:
    cdef const char *end = at + n
    cdef int dots = 0
    while dots < 3:
        at = <const char *>memchr(at, c'.', <size_t>(end - at))
        if at == NULL:
            break
        at += 1
        dots += 1
    return dots == 2


cdef bint is_well_formed(const char *at, size_t n) noexcept nogil:
    cdef size_t k, part = 0
    if n > TOKEN_MAX:
        return 0
    for k in range(n):
        if at[k] == c'.':
            if part == 0:
                return 0
            part = 0
            continue
        part += 1
        if not (
            c'a' <= at[k] <= c'z' or c'A' <= at[k] <= c'Z' or c'0' <= at[k] <= c'9'
            or at[k] == c'-' or at[k] == c'_'
        ):
            return 0
    return part != 0


cdef void token_tag(const TokenTable *t, const char *at, size_t n, uint8_t *tag) noexcept nogil:
    zp_siphash128(at, n, t.secret, tag)


cdef inline uint32_t set_of(const uint8_t *tag, uint32_t places) noexcept nogil:
    """First place of the set of a tag."""
    cdef uint32_t k
    memcpy(&k, tag, 4)
    return k & (places - 1) & ~<uint32_t>(TOKEN_WAYS - 1)


cdef Token *find(Token *table, uint32_t places, const uint8_t *tag) noexcept nogil:
    cdef Token *at = table + set_of(tag, places)
    cdef int k
    for k in range(<int>TOKEN_WAYS):
        if at[k].until_ns and zp_same16(at[k].tag, tag):
            return &at[k]
    return NULL


cdef const Token *token_find(
    const TokenTable *t, const uint8_t *tag, uint64_t now_ns
) noexcept nogil:
    cdef Token *found = find(t.known, TOKENS_KNOWN, tag)
    if found == NULL or found.until_ns <= now_ns or not found.key.in_force:
        found = find(t.refused, TOKENS_REFUSED, tag)
    return found if found != NULL and found.until_ns > now_ns else NULL


cdef Token *place_for(Token *table, uint32_t places, const uint8_t *tag) noexcept nogil:
    """Its own place, else that of the verdict which ends first."""
    cdef Token *at = table + set_of(tag, places)
    cdef Token *best = find(table, places, tag)
    cdef int k
    if best != NULL:
        return best
    best = at
    for k in range(1, <int>TOKEN_WAYS):
        if at[k].until_ns < best.until_ns:
            best = &at[k]
    return best


cdef void token_keep(
    TokenTable *t, const uint8_t *tag, ApiKey *key, int fault, uint64_t now_ns, uint64_t until_ns
) noexcept nogil:
    cdef Token *place
    if not t.is_on or until_ns <= now_ns:
        return
    if key != NULL:
        place = place_for(t.known, TOKENS_KNOWN, tag)
    else:
        place = place_for(t.refused, TOKENS_REFUSED, tag)
    memcpy(place.tag, tag, TAG)
    place.key = key
    place.fault = <uint8_t>fault
    place.until_ns = until_ns


cdef void tokens_forget(TokenTable *t) noexcept nogil:
    if t.is_on:
        memset(t.known, 0, TOKENS_KNOWN * sizeof(Token))
        memset(t.refused, 0, TOKENS_REFUSED * sizeof(Token))
