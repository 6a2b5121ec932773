/* JSON by the byte: what lies between two tokens stepped over, strings and words in one look. */
#ifndef ZEROPROXY_MARKS_H
#define ZEROPROXY_MARKS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    ZP_MARK_TOKEN = 1,  /* a string or a level begins or ends */
    ZP_MARK_MEMBER = 2, /* a name or a value has ended */
    ZP_MARK_VALUE = 4   /* a number, or true, begins */
};

static const uint8_t ZP_MARKS[256] = {
    ['"'] = ZP_MARK_TOKEN,  ['{'] = ZP_MARK_TOKEN,  ['}'] = ZP_MARK_TOKEN, ['['] = ZP_MARK_TOKEN,
    [']'] = ZP_MARK_TOKEN,  [':'] = ZP_MARK_MEMBER, [','] = ZP_MARK_MEMBER, ['-'] = ZP_MARK_VALUE,
    ['0'] = ZP_MARK_VALUE,  ['1'] = ZP_MARK_VALUE,  ['2'] = ZP_MARK_VALUE, ['3'] = ZP_MARK_VALUE,
    ['4'] = ZP_MARK_VALUE,  ['5'] = ZP_MARK_VALUE,  ['6'] = ZP_MARK_VALUE, ['7'] = ZP_MARK_VALUE,
    ['8'] = ZP_MARK_VALUE,  ['9'] = ZP_MARK_VALUE,  ['t'] = ZP_MARK_VALUE,
};

/* Offset of the first byte from k on that carries one of `marks`, or len. */
static inline size_t zp_skip_to(const char *at, size_t k, size_t len, unsigned marks) {
    while (k < len && !(ZP_MARKS[(uint8_t)at[k]] & marks))
        k++;
    return k;
}

/* Of two short words. The last eight bytes may overlap those before. */
static inline int zp_is_equal(const char *a, const char *b, size_t n) {
    uint64_t x, y;
    size_t k = 0;
    if (n >= 8) {
        for (; k + 8 < n; k += 8) {
            memcpy(&x, a + k, 8);
            memcpy(&y, b + k, 8);
            if (x != y)
                return 0;
        }
        memcpy(&x, a + n - 8, 8);
        memcpy(&y, b + n - 8, 8);
        return x == y;
    }
    for (; k < n; k++)
        if (a[k] != b[k])
            return 0;
    return 1;
}

/* The first quote, or NULL. Most strings are short: eight bytes at a time, a few times, before the
 * call pays. */
static inline const char *zp_quote(const char *at, size_t len) {
    const char *end = at + len;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    const uint64_t ones = 0x0101010101010101ULL;
    uint64_t v;
    for (int i = 0; i < 3 && end - at >= 8; i++, at += 8) {
        memcpy(&v, at, 8);
        v ^= ones * '"';
        v = (v - ones) & ~v & (ones << 7); /* the lowest bit set is of the first quote */
        if (v)
            return at + (__builtin_ctzll(v) >> 3);
    }
#endif
    return (const char *)memchr(at, '"', (size_t)(end - at));
}

/* Whether the string whose inside begins at `at` ends at the first quote, `*n` bytes on: true of
 * nearly all. Otherwise the quote may be escaped, or is not here. */
static inline int zp_is_plain_string(const char *at, size_t len, size_t *n) {
    const char *quote = zp_quote(at, len);
    if (quote == NULL || (quote != at && quote[-1] == '\\'))
        return 0;
    *n = (size_t)(quote - at);
    return 1;
}

/* Inside a level at `depth` whose members mean nothing: the offset of the bracket that closes it,
 * of a string that takes more than one look, or `len`. `*depth` follows. */
static inline size_t zp_skip_level(const char *at, size_t k, size_t len, uint32_t *depth) {
    const uint32_t floor = *depth;
    size_t n;
    for (;;) {
        k = zp_skip_to(at, k, len, ZP_MARK_TOKEN);
        if (k == len)
            return k;
        if (at[k] == '"') {
            if (!zp_is_plain_string(at + k + 1, len - k - 1, &n))
                return k;
            k += n + 2;
            continue;
        }
        if (at[k] == '{' || at[k] == '[')
            ++*depth;
        else if (*depth == floor)
            return k;
        else
            --*depth;
        k++;
    }
}

#endif
