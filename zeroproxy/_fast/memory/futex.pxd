from libc.stdint cimport uint32_t, uint64_t


cdef struct Bell:
    uint32_t rung           # since it was last awaited; atomic, and the kernel's futex

cdef void bell_ring(Bell *b) noexcept nogil
cdef void bell_await(Bell *b, uint64_t ns) noexcept nogil
