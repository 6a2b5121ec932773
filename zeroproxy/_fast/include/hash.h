/* A fast hash of short runs of bytes. */
#ifndef ZEROPROXY_HASH_H
#define ZEROPROXY_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Two streams of multiply-and-fold, 16 bytes a step (after wyhash, public domain). Not for tables
 * that an attacker may fill: it compares an event's bytes with the template. */
static inline uint64_t zp_mix(uint64_t a, uint64_t b) {
    unsigned __int128 p = (unsigned __int128)a * b;
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static inline uint64_t zp_load(const unsigned char *at) {
    uint64_t v;
    memcpy(&v, at, 8);
    return v;
}

static inline uint64_t zp_hash(const void *from, size_t len) {
    const unsigned char *at = (const unsigned char *)from;
    const uint64_t k0 = 0xa0761d6478bd642fULL, k1 = 0xe7037ed1a0b428dbULL;
    uint64_t h = k0 ^ len, g = k1, last[2] = {0, 0};
    size_t left = len;
    while (left >= 32) {
        h = zp_mix(zp_load(at) ^ k0, zp_load(at + 8) ^ h);
        g = zp_mix(zp_load(at + 16) ^ k1, zp_load(at + 24) ^ g);
        at += 32;
        left -= 32;
    }
    if (left >= 16) {
        h = zp_mix(zp_load(at) ^ k1, zp_load(at + 8) ^ h);
        at += 16;
        left -= 16;
    }
    memcpy(last, at, left);
    /* g is k1 where nothing went into it: no factor may then be zero. */
    return zp_mix(zp_mix(last[0] ^ k0, last[1] ^ h), g ^ k0);
}

#endif
