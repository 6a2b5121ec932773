/* Which bytes may stand where, one lookup per byte. RFC 9110 5.6.2 (token), 5.5 (field value),
   RFC 3986 (target, host). '%' is in no target or host class: it needs two hex digits behind it
   and is looked at on its own. One table of flags, so that one cache line set serves them all. */
#ifndef ZEROPROXY_GRAMMAR_H
#define ZEROPROXY_GRAMMAR_H

#include <stddef.h>
#include <stdint.h>

#define ZP_TOKEN 0x01   /* method, field name, chunk extension name */
#define ZP_TARGET 0x02  /* path and query: unreserved, sub-delims, : @ / ? */
#define ZP_VALUE 0x04   /* field value: visible, SP, HTAB, obs-text; never CR, LF, NUL */
#define ZP_HOST 0x08    /* unreserved; the other sub-delims are legal but nobody's host name */
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

/* Offset of the first byte of eight that is marked, or less: of marks != 0 as they were loaded. */
static inline size_t zp_first_byte(uint64_t marks) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return (size_t)__builtin_ctzll(marks) >> 3;
#else
    return 0;
#endif
}

#endif
