# Helpers of every target: exact copies, so that one byte too far is seen, and cuts chosen by seed.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport malloc
from libc.string cimport memcpy


cdef extern from "demand.h" nogil:
    void demand(bint what)


cdef inline char *copy_of(const char *at, size_t n) noexcept nogil:
    """Copy of `n` bytes, to be freed; of no bytes: a block of one, not to be read."""
    cdef char *copy = <char *>malloc(n if n else 1)
    demand(copy != NULL)
    memcpy(copy, at, n)
    return copy


cdef inline size_t next_piece(uint64_t *seed, size_t left) noexcept nogil:
    """Length of the next piece, 1 to `left`, mostly short."""
    cdef uint64_t x = seed[0]
    cdef size_t n
    x ^= x << 13
    x ^= x >> 7
    x ^= x << 17
    seed[0] = x
    n = 1 + ((x >> 8) % 64 if x & 3 else (x >> 8) % 4096 if x & 4 else 0)
    return n if n < left else left


# Seed of a choice of cuts, never 0.
cdef inline uint64_t seed_of(uint8_t b) noexcept nogil:
    return (<uint64_t>b + 1) * <uint64_t>0x9E3779B97F4A7C15
