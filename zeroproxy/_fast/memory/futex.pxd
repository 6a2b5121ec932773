from libc.stdint cimport uint32_t, uint64_t


cdef struct Futex:
    uint32_t word           # since it was last awaited; atomic, and the kernel's futex

cdef void futex_wake(Futex *b) noexcept nogil
cdef void futex_wait(Futex *b, uint64_t ns) noexcept nogil
