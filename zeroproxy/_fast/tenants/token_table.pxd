from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t

from zeroproxy._fast.types.key_and_quota cimport ApiKey
from zeroproxy._fast.types.token cimport Token, TokenTable

cdef enum:
    TOKEN_WAYS = 8
    TOKENS_KNOWN = 8192     # places: powers of two, and multiples of TOKEN_WAYS
    TOKENS_REFUSED = 512

# True for a text of three parts between dots, as a signed token has them; other texts are keys.
cdef bint is_token(const char *at, size_t n) noexcept nogil
# True if each part is base64url and none is empty; at most TOKEN_MAX bytes.
cdef bint is_well_formed(const char *at, size_t n) noexcept nogil
# Write the tag of a token's text.
cdef void token_tag(const TokenTable *t, const char *at, size_t n, uint8_t *tag) noexcept nogil
# Find a verdict that is still good; borrowed until the table changes. NULL: there is none.
cdef const Token *token_find(
    const TokenTable *t, const uint8_t *tag, uint64_t now_ns
) noexcept nogil
# Keep a verdict, in the place of another if need be. `key` NULL: refused with `fault`.
cdef void token_keep(
    TokenTable *t, const uint8_t *tag, ApiKey *key, int fault, uint64_t now_ns, uint64_t until_ns
) noexcept nogil
# Forget all verdicts.
cdef void tokens_forget(TokenTable *t) noexcept nogil
