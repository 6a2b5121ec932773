/* The two orderings the ring needs, and nothing else. One writer per index. */
#ifndef ZEROPROXY_ATOMICS_H
#define ZEROPROXY_ATOMICS_H

#include <stdint.h>

static inline uint64_t zp_load_acquire(const uint64_t *at) {
    return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

static inline void zp_store_release(uint64_t *at, uint64_t value) {
    __atomic_store_n(at, value, __ATOMIC_RELEASE);
}

#endif
