/* Atomic operations. For the ring: one writer per index. For its wake-up, in one order for all: the
   writer sees that the sleeper waits, or the sleeper sees the bytes written. And a counter of
   several writers (net/plane_lock.pyx). */
#ifndef ZEROPROXY_ATOMICS_H
#define ZEROPROXY_ATOMICS_H

#include <stdint.h>

static inline uint64_t zp_load_acquire(const uint64_t *at) {
    return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

static inline void zp_store_release(uint64_t *at, uint64_t value) {
    __atomic_store_n(at, value, __ATOMIC_RELEASE);
}

static inline uint64_t zp_load_ordered(const uint64_t *at) {
    return __atomic_load_n(at, __ATOMIC_SEQ_CST);
}

static inline void zp_store_ordered(uint64_t *at, uint64_t value) {
    __atomic_store_n(at, value, __ATOMIC_SEQ_CST);
}

static inline uint32_t zp_swap_ordered(uint32_t *at, uint32_t value) {
    return __atomic_exchange_n(at, value, __ATOMIC_SEQ_CST);
}

static inline uint32_t zp_load_relaxed(const uint32_t *at) {
    return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static inline void zp_add_relaxed(uint32_t *at, uint32_t n) {
    __atomic_fetch_add(at, n, __ATOMIC_RELAXED);
}

#endif
