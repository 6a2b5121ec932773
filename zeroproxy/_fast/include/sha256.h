/* SHA-256 (FIPS 180-4) of short texts, and a comparison that takes the same time for any two. */
#ifndef ZEROPROXY_SHA256_H
#define ZEROPROXY_SHA256_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static const uint32_t zp_sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t zp_rotr(uint32_t x, int n) { return x >> n | x << (32 - n); }

/* One round; the words change names instead of being moved. */
#define ZP_ROUND(a, b, c, d, e, f, g, h, k)                                                  \
    do {                                                                                     \
        uint32_t s = h + (zp_rotr(e, 6) ^ zp_rotr(e, 11) ^ zp_rotr(e, 25)) +                 \
                     (g ^ (e & (f ^ g))) + zp_sha256_k[k] + w[k];                            \
        d += s;                                                                              \
        h = s + (zp_rotr(a, 2) ^ zp_rotr(a, 13) ^ zp_rotr(a, 22)) + ((a & b) | (c & (a | b))); \
    } while (0)

static inline void zp_sha256_block(uint32_t v[8], const unsigned char *at) {
    uint32_t w[64];
    uint32_t a = v[0], b = v[1], c = v[2], d = v[3], e = v[4], f = v[5], g = v[6], h = v[7];
    for (int i = 0; i < 16; i++, at += 4)
        w[i] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    for (int i = 16; i < 64; i++) {
        uint32_t x = w[i - 15], y = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (zp_rotr(x, 7) ^ zp_rotr(x, 18) ^ x >> 3) +
               (zp_rotr(y, 17) ^ zp_rotr(y, 19) ^ y >> 10);
    }
    for (int i = 0; i < 64; i += 8) {
        ZP_ROUND(a, b, c, d, e, f, g, h, i);
        ZP_ROUND(h, a, b, c, d, e, f, g, i + 1);
        ZP_ROUND(g, h, a, b, c, d, e, f, i + 2);
        ZP_ROUND(f, g, h, a, b, c, d, e, i + 3);
        ZP_ROUND(e, f, g, h, a, b, c, d, i + 4);
        ZP_ROUND(d, e, f, g, h, a, b, c, i + 5);
        ZP_ROUND(c, d, e, f, g, h, a, b, i + 6);
        ZP_ROUND(b, c, d, e, f, g, h, a, i + 7);
    }
    v[0] += a, v[1] += b, v[2] += c, v[3] += d, v[4] += e, v[5] += f, v[6] += g, v[7] += h;
}

static inline void zp_sha256(const void *from, size_t len, unsigned char out[32]) {
    const unsigned char *at = (const unsigned char *)from;
    uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                     0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    uint64_t bits = (uint64_t)len * 8;
    unsigned char last[128] = {0};
    size_t end;
    for (; len >= 64; at += 64, len -= 64)
        zp_sha256_block(h, at);
    if (len)
        memcpy(last, at, len);
    last[len] = 0x80;
    end = len < 56 ? 64 : 128;
    for (int i = 0; i < 8; i++)
        last[end - 1 - i] = (unsigned char)(bits >> 8 * i);
    zp_sha256_block(h, last);
    if (end == 128)
        zp_sha256_block(h, last + 64);
    for (int i = 0; i < 32; i++)
        out[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static inline int zp_same32(const unsigned char *a, const unsigned char *b) {
    unsigned char differs = 0;
    for (int i = 0; i < 32; i++)
        differs |= a[i] ^ b[i];
    return differs == 0;
}

#endif
