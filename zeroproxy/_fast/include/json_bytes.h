/* JSON by the byte: bytes between two tokens are stepped over, strings and words take one look. */
#ifndef ZEROPROXY_JSON_BYTES_H
#define ZEROPROXY_JSON_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum {
    ZP_MARK_TOKEN = 1,  /* a string or a level begins or ends */
    ZP_MARK_MEMBER = 2, /* a name or a value has ended */
    ZP_MARK_VALUE = 4,  /* a number, or true, begins */
    ZP_MARK_NUMBER = 8, /* part of a number */
    ZP_MARK_DIGIT = ZP_MARK_VALUE | ZP_MARK_NUMBER
};

static const uint8_t ZP_MARKS[256] = {
    ['"'] = ZP_MARK_TOKEN,  ['{'] = ZP_MARK_TOKEN,  ['}'] = ZP_MARK_TOKEN,  ['['] = ZP_MARK_TOKEN,
    [']'] = ZP_MARK_TOKEN,  [':'] = ZP_MARK_MEMBER, [','] = ZP_MARK_MEMBER, ['-'] = ZP_MARK_DIGIT,
    ['0'] = ZP_MARK_DIGIT,  ['1'] = ZP_MARK_DIGIT,  ['2'] = ZP_MARK_DIGIT,  ['3'] = ZP_MARK_DIGIT,
    ['4'] = ZP_MARK_DIGIT,  ['5'] = ZP_MARK_DIGIT,  ['6'] = ZP_MARK_DIGIT,  ['7'] = ZP_MARK_DIGIT,
    ['8'] = ZP_MARK_DIGIT,  ['9'] = ZP_MARK_DIGIT,  ['t'] = ZP_MARK_VALUE,  ['.'] = ZP_MARK_NUMBER,
    ['e'] = ZP_MARK_NUMBER, ['E'] = ZP_MARK_NUMBER, ['+'] = ZP_MARK_NUMBER,
};

/* Offset of the first byte from k on that carries one of `marks`, or len. */
static inline size_t zp_skip_to(const char *at, size_t k, size_t len, unsigned marks) {
    while (k < len && !(ZP_MARKS[(uint8_t)at[k]] & marks))
        k++;
    return k;
}

/* Comparison of two short words. The last eight bytes may overlap those before. */
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

/* The first quote, or NULL. Most strings are short: a few looks before the call pays. */
static inline const char *zp_quote(const char *at, size_t len) {
    const char *end = at + len;
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"');
    for (int i = 0; i < 3 && end - at >= 16; i++, at += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)at);
        int found = _mm_movemask_epi8(_mm_cmpeq_epi8(v, quote));
        if (found)
            return at + __builtin_ctz((unsigned)found);
    }
#elif __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
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

/* True if the string whose inside begins at `at` ends at the first quote, `*n` bytes on: so do
 * nearly all. Otherwise the quote may be escaped, or is not here. */
static inline int zp_is_plain_string(const char *at, size_t len, size_t *n) {
    const char *quote = zp_quote(at, len);
    if (quote == NULL || (quote != at && quote[-1] == '\\'))
        return 0;
    *n = (size_t)(quote - at);
    return 1;
}

/* Offset of the first byte from k on that is part of no number, or len. */
static inline size_t zp_number_end(const char *at, size_t k, size_t len) {
    while (k < len && (ZP_MARKS[(uint8_t)at[k]] & ZP_MARK_NUMBER))
        k++;
    return k;
}

/* Bytes of a number, or of true, false, null; 0: something else, or not all here. */
static inline size_t zp_scalar(const char *at, size_t len) {
    if (*at == '-' || (*at >= '0' && *at <= '9'))
        return zp_number_end(at, 0, len);
    if (len >= 5 && *at == 'f' && memcmp(at, "false", 5) == 0)
        return 5;
    return len >= 4 && (memcmp(at, "null", 4) == 0 || memcmp(at, "true", 4) == 0) ? 4 : 0;
}

/* A member of an object that is all here: "name":value, with at most one blank before either. */
struct zp_member {
    size_t name, name_len; /* inside the quotes */
    size_t value;          /* its first byte */
    size_t end;            /* behind it; a level's only begins here */
    size_t next;           /* the next name's quote, if nothing rarer follows; `value` of a level */
};

/* True if the member whose opening quote is at `k` can be taken in one look. Otherwise it is not
 * all here, or written in some rarer way. */
static inline int zp_is_member(const char *at, size_t k, size_t len, struct zp_member *m) {
    size_t n, v;
    m->name = k + 1;
    if (!zp_is_plain_string(at + k + 1, len - k - 1, &m->name_len))
        return 0;
    v = k + m->name_len + 2;
    if (v >= len || at[v] != ':')
        return 0;
    v += 1 + (v + 1 < len && at[v + 1] == ' ');
    if (v >= len)
        return 0;
    m->value = v;
    if (at[v] == '"') {
        if (!zp_is_plain_string(at + v + 1, len - v - 1, &n))
            return 0;
        v += n + 2;
    } else if (at[v] == '{' || at[v] == '[') {
        m->end = m->next = v;
        return 1;
    } else {
        v += zp_scalar(at + v, len - v);
    }
    m->end = m->next = v;
    if (v < len && at[v] == ',')
        m->next = v + 1 + (v + 1 < len && at[v + 1] == ' ');
    return v < len && (at[v] == ',' || at[v] == '}');
}

/* Skip a level at `depth` whose members mean nothing. Returns the offset of the bracket that closes
 * it, of a string that takes more than one look, or `len`. `*depth` follows. */
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
