/* memmem is a GNU extension that <string.h> hides from strict builds; glibc and musl both have it. */
#ifndef ZEROPROXY_SCAN_H
#define ZEROPROXY_SCAN_H

#include <stddef.h>

extern void *memmem(const void *, size_t, const void *, size_t);

static inline void *zp_find(const void *at, size_t len, const void *word, size_t n) {
    return memmem(at, len, word, n);
}

#endif
