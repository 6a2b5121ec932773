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

/* Of two short words. */
static inline int zp_is_equal(const char *a, const char *b, size_t n) {
    uint64_t x, y;
    size_t k = 0;
    for (; k + 8 <= n; k += 8) {
        memcpy(&x, a + k, 8);
        memcpy(&y, b + k, 8);
        if (x != y)
            return 0;
    }
    for (; k < n; k++)
        if (a[k] != b[k])
            return 0;
    return 1;
}

/* Whether the string whose inside begins at `at` ends at the first quote, `*n` bytes on: true of
 * nearly all. Otherwise the quote may be escaped, or is not here. */
static inline int zp_is_plain_string(const char *at, size_t len, size_t *n) {
    const char *quote = (const char *)memchr(at, '"', len);
    if (quote == NULL || (quote != at && quote[-1] == '\\'))
        return 0;
    *n = (size_t)(quote - at);
    return 1;
}

#endif
