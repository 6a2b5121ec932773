/* Classes of bytes, one lookup per byte. RFC 9110 5.6.2 (token), 5.5 (field value), RFC 3986
   (target, host). '%' is in no target or host class: it needs two hex digits behind it and is
   looked at on its own. One table of flags, so that one cache line set serves them all. */
#ifndef ZEROPROXY_GRAMMAR_H
#define ZEROPROXY_GRAMMAR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define ZP_TOKEN 0x01   /* method, field name, chunk extension name */
#define ZP_TARGET 0x02  /* path and query: unreserved, sub-delims, : @ / ? */
#define ZP_VALUE 0x04   /* field value: visible, SP, HTAB, obs-text; never CR, LF, NUL */
#define ZP_HOST 0x08    /* unreserved; the other sub-delims are legal but in no real host name */
#define ZP_HEX 0x10
#define ZP_DIGIT 0x20
#define ZP_VISIBLE 0x40 /* 0x21 to 0x7e */
#define ZP_LOWHEX 0x80  /* 0-9 a-f */

#define ZP_ALL (ZP_TOKEN | ZP_TARGET | ZP_VALUE | ZP_HOST | ZP_VISIBLE)
#define ZP_SUB (ZP_TOKEN | ZP_TARGET | ZP_VALUE | ZP_VISIBLE)
#define ZP_DELIM (ZP_TARGET | ZP_VALUE | ZP_VISIBLE)
#define ZP_MARK (ZP_TOKEN | ZP_VALUE | ZP_VISIBLE)
#define ZP_OTHER (ZP_VALUE | ZP_VISIBLE)

static const unsigned char zp_class[256] = {
    ['0' ... '9'] = ZP_ALL | ZP_HEX | ZP_DIGIT | ZP_LOWHEX,
    ['a' ... 'f'] = ZP_ALL | ZP_HEX | ZP_LOWHEX,
    ['A' ... 'F'] = ZP_ALL | ZP_HEX,
    ['g' ... 'z'] = ZP_ALL,
    ['G' ... 'Z'] = ZP_ALL,
    ['-'] = ZP_ALL, ['.'] = ZP_ALL, ['_'] = ZP_ALL, ['~'] = ZP_ALL,
    ['!'] = ZP_SUB, ['$'] = ZP_SUB, ['&'] = ZP_SUB, ['\''] = ZP_SUB, ['*'] = ZP_SUB,
    ['+'] = ZP_SUB,
    ['('] = ZP_DELIM, [')'] = ZP_DELIM, [','] = ZP_DELIM, [';'] = ZP_DELIM, ['='] = ZP_DELIM,
    [':'] = ZP_DELIM, ['@'] = ZP_DELIM, ['/'] = ZP_DELIM, ['?'] = ZP_DELIM,
    ['#'] = ZP_MARK, ['%'] = ZP_MARK, ['^'] = ZP_MARK, ['`'] = ZP_MARK, ['|'] = ZP_MARK,
    ['"'] = ZP_OTHER, ['<'] = ZP_OTHER, ['>'] = ZP_OTHER, ['['] = ZP_OTHER, [']'] = ZP_OTHER,
    ['\\'] = ZP_OTHER, ['{'] = ZP_OTHER, ['}'] = ZP_OTHER,
    [' '] = ZP_VALUE, ['\t'] = ZP_VALUE,
    [0x80 ... 0xff] = ZP_VALUE,
};

/* The first byte from p on that is not of these classes, or `end`. */
static inline const unsigned char *zp_skip_class(const unsigned char *p, const unsigned char *end,
                                                 unsigned char what) {
    while (p < end && zp_class[*p] & what)
        p++;
    return p;
}

#if defined(__SSE2__)
/* 0xff for each of sixteen bytes that is from `first` to first + span. */
static inline __m128i zp_within(__m128i v, char first, char span) {
    __m128i above = _mm_sub_epi8(v, _mm_set1_epi8(first));
    return _mm_cmpeq_epi8(_mm_subs_epu8(above, _mm_set1_epi8(span)), _mm_setzero_si128());
}
#endif

/* zp_skip_class for ZP_TOKEN, fast for the bytes of most names: letters, digits, "-". */
static inline const unsigned char *zp_skip_token(const unsigned char *p, const unsigned char *end) {
#if defined(__SSE2__)
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)p);
        __m128i letter = zp_within(_mm_or_si128(v, _mm_set1_epi8(0x20)), 'a', 25);
        __m128i other = _mm_or_si128(zp_within(v, '0', 9), _mm_cmpeq_epi8(v, _mm_set1_epi8('-')));
        int rest = _mm_movemask_epi8(_mm_or_si128(letter, other)) ^ 0xffff;
        if (rest)
            return zp_skip_class(p + __builtin_ctz((unsigned)rest), end, ZP_TOKEN);
        p += 16;
    }
#endif
    return zp_skip_class(p, end, ZP_TOKEN);
}

/* zp_skip_class for ZP_VALUE, fast for a value without HTAB. */
static inline const unsigned char *zp_skip_value(const unsigned char *p, const unsigned char *end) {
#if defined(__SSE2__)
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)p);
        __m128i low = zp_within(v, 0, 0x1f), del = _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f));
        int found = _mm_movemask_epi8(_mm_or_si128(low, del));
        if (found)
            return zp_skip_class(p + __builtin_ctz((unsigned)found), end, ZP_VALUE);
        p += 16;
    }
#else
    const uint64_t ones = 0x0101010101010101ULL, high = ones << 7;
    for (; end - p >= 8; p += 8) {
        uint64_t w, del;
        memcpy(&w, p, 8);
        del = w ^ (ones * 0x7f);
        if ((((w - ones * 0x20) & ~w) | ((del - ones) & ~del)) & high)
            break;
    }
#endif
    return zp_skip_class(p, end, ZP_VALUE);
}

#endif
