/* SipHash-2-4 with 128 bits (Aumasson, Bernstein: SipHash, a fast short-input PRF): a MAC of short
 * texts. Without the secret nobody can find a text with a given tag. */
#ifndef ZP_SIPHASH_H
#define ZP_SIPHASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ZP_ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

static inline void zp_sip_round(uint64_t *v)
{
    v[0] += v[1], v[1] = ZP_ROTL(v[1], 13) ^ v[0], v[0] = ZP_ROTL(v[0], 32);
    v[2] += v[3], v[3] = ZP_ROTL(v[3], 16) ^ v[2];
    v[0] += v[3], v[3] = ZP_ROTL(v[3], 21) ^ v[0];
    v[2] += v[1], v[1] = ZP_ROTL(v[1], 17) ^ v[2], v[2] = ZP_ROTL(v[2], 32);
}

static inline void zp_sip_word(uint64_t *v, uint64_t word)
{
    v[3] ^= word;
    zp_sip_round(v);
    zp_sip_round(v);
    v[0] ^= word;
}

static inline uint64_t zp_sip_end(uint64_t *v)
{
    for (int k = 0; k < 4; k++)
        zp_sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static inline void zp_siphash128(const void *at, size_t n, const uint64_t *secret, uint8_t *tag)
{
    const uint8_t *p = at;
    uint64_t word, half[2], last = (uint64_t)n << 56;
    uint64_t v[4] = {
        secret[0] ^ 0x736f6d6570736575ULL, secret[1] ^ 0x646f72616e646f6dULL ^ 0xee,
        secret[0] ^ 0x6c7967656e657261ULL, secret[1] ^ 0x7465646279746573ULL,
    };
    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&word, p, 8);
        zp_sip_word(v, word);
    }
    for (size_t k = 0; k < n; k++)
        last |= (uint64_t)p[k] << (8 * k);
    zp_sip_word(v, last);
    v[2] ^= 0xee;
    half[0] = zp_sip_end(v);
    v[1] ^= 0xdd;
    half[1] = zp_sip_end(v);
    memcpy(tag, half, 16);
}

/* Same time for any two tags. */
static inline int zp_same16(const uint8_t *a, const uint8_t *b)
{
    uint64_t x[2], y[2];
    memcpy(x, a, 16);
    memcpy(y, b, 16);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

#endif
