from libc.stdint cimport uint32_t, uint64_t


cdef struct Futex:
    uint32_t word           # since it was last awaited; atomic, and the kernel's futex

# Wake the sleeper, or its next sleep. Any thread; never waits.
cdef void futex_wake(Futex *b) noexcept nogil
# Sleep until it was rung since the last call, or `ns` (less than a century) are over.
cdef void futex_wait(Futex *b, uint64_t ns) noexcept nogil
