from libc.stdint cimport uint32_t, uint64_t


cdef struct Futex:
    uint32_t word           # 1: woken since the last sleep; atomic, and the kernel's futex

# Wake the sleeper, or end its next sleep at once. Any thread; never waits.
cdef void futex_wake(Futex *b) noexcept nogil
# Sleep until it was woken since the last call, or `ns` (less than a century) are over.
cdef void futex_wait(Futex *b, uint64_t ns) noexcept nogil
