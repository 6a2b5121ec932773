# The byte classes of grammar.h, and the loops that skip over them.
#
# Law 1. No function here reads at or past `end`.
# Law 2. The `word` of a comparison is in lower case; only the other side is folded.
# Tests: tests/unit/test_http1_differential.py.

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from zeroproxy._fast.types.http cimport Span

ctypedef const unsigned char *Cursor

cdef extern from "grammar.h" nogil:
    const unsigned char[256] CLASS "zp_class"
    Cursor skip_class "zp_skip_class"(Cursor p, Cursor end, unsigned char what)
    Cursor skip_token "zp_skip_token"(Cursor p, Cursor end)
    Cursor skip_value "zp_skip_value"(Cursor p, Cursor end)
    enum:
        IS_TOKEN "ZP_TOKEN"
        IS_TARGET "ZP_TARGET"
        IS_VALUE "ZP_VALUE"
        IS_HOST "ZP_HOST"
        IS_HEX "ZP_HEX"
        IS_DIGIT "ZP_DIGIT"
        IS_VISIBLE "ZP_VISIBLE"
        IS_LOWHEX "ZP_LOWHEX"

cdef enum:
    HTAB = 9
    LF = 10
    CR = 13
    SP = 32


# Every byte has a mark of `what`.
cdef inline bint is_all(Cursor p, size_t n, unsigned char what) noexcept nogil:
    return skip_class(p, p + n, what) == p + n


# First byte behind blanks (SP, HTAB); `end`: there are only blanks.
cdef inline Cursor skip_blank(Cursor p, Cursor end) noexcept nogil:
    while p < end and (p[0] == SP or p[0] == HTAB):
        p += 1
    return p


# Lower case of an ASCII letter; any other byte stays.
cdef inline unsigned char fold(unsigned char c) noexcept nogil:
    return c | 0x20 if <unsigned char>(c - 65) < 26 else c


# Value of a hex digit; -1: it is none.
cdef inline int hex_of(char c) noexcept nogil:
    if c'0' <= c <= c'9':
        return c - c'0'
    if c'a' <= (c | 0x20) <= c'f':
        return (c | 0x20) - c'a' + 10
    return -1


# Lower case of eight bytes at once.
cdef inline uint64_t fold_eight(uint64_t w) noexcept nogil:
    # Only bytes of ASCII are looked at, so no sum carries over.
    cdef uint64_t ones = 0x0101010101010101
    cdef uint64_t low = w & ones * 0x7F
    cdef uint64_t from_a = low + ones * (128 - 65), above_z = low + ones * (127 - 90)
    return w | ((from_a ^ above_z) & ~w & (ones << 7)) >> 2


# `word`, in lower case, stands at `p` in any case; there are `n` bytes at `p`.
cdef inline bint begins_with(Cursor p, const char *word, size_t n) noexcept nogil:
    cdef uint64_t mine, theirs
    cdef uint32_t first, last
    cdef size_t k = 0
    if n >= 8:
        while k + 8 < n:
            memcpy(&mine, p + k, 8)
            memcpy(&theirs, word + k, 8)
            if fold_eight(mine) != theirs:
                return 0
            k += 8
        # The last eight: they may overlap those before.
        memcpy(&mine, p + n - 8, 8)
        memcpy(&theirs, word + n - 8, 8)
        return fold_eight(mine) == theirs
    if n >= 4:
        memcpy(&first, p, 4)
        memcpy(&last, p + n - 4, 4)
        mine = first | <uint64_t>last << 32
        memcpy(&first, word, 4)
        memcpy(&last, word + n - 4, 4)
        theirs = first | <uint64_t>last << 32
        return fold_eight(mine) == theirs
    while k < n:
        if fold(p[k]) != <unsigned char>word[k]:
            return 0
        k += 1
    return 1


# The bytes are a lower-case `word`, in any case.
cdef inline bint is_word(Cursor p, size_t n, const char *word, size_t word_len) noexcept nogil:
    return n == word_len and begins_with(p, word, n)


# Two runs of `n` bytes differ at most in case.
cdef inline bint is_same(Cursor a, Cursor b, size_t n) noexcept nogil:
    cdef size_t i
    for i in range(n):
        if fold(a[i]) != fold(b[i]):
            return 0
    return 1


# Next member of a comma list, blanks trimmed, empty ones passed over (RFC 9110 5.6.1). 0: none.
cdef inline bint next_element(Cursor *at, Cursor end, Span *element) noexcept nogil:
    cdef Cursor p = at[0]
    cdef Cursor first
    while p < end and (p[0] == SP or p[0] == HTAB or p[0] == 44):
        p += 1
    first = p
    while p < end and p[0] != 44:
        p += 1
    at[0] = p
    while p > first and ((p - 1)[0] == SP or (p - 1)[0] == HTAB):
        p -= 1
    element.at = <const char *>first
    element.len = p - first
    return p != first
