# Buffers of borrowed blocks.
#
# Law 1. 0 <= at <= end <= cap; cap == 0 exactly when the buffer holds no block.
# Law 2. An empty buffer gives its block back at once: what waits for nothing holds nothing.
# Law 3. Blocks come in three sizes and are lent by one pool; nothing is allocated per read.

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t

from zeroproxy._fast.types.memory cimport BlockPool, Buffer


cdef extern from "stdlib.h" nogil:
    void *aligned_alloc(size_t line, size_t n)


cdef enum:
    LINE = 64               # bytes that come from memory together


cdef inline void *alloc_lines(size_t n) noexcept nogil:
    """Room for `n` bytes that begins a line, for what is touched with every event. NULL: none."""
    return aligned_alloc(LINE, (n + LINE - 1) // LINE * LINE)


cdef void pool_init(BlockPool *pool) noexcept nogil
cdef void pool_close(BlockPool *pool) noexcept nogil
cdef bint buffer_reserve(Buffer *b, BlockPool *pool, size_t room) noexcept nogil
cdef bint buffer_append(Buffer *b, BlockPool *pool, const char *at, size_t n) noexcept nogil
cdef void buffer_release(Buffer *b, BlockPool *pool) noexcept nogil


cdef inline uint32_t buffer_len(const Buffer *b) noexcept nogil:
    return b.end - b.at


cdef inline char *buffer_bytes(const Buffer *b) noexcept nogil:
    return b.data + b.at


cdef inline void buffer_consume(Buffer *b, BlockPool *pool, size_t n) noexcept nogil:
    b.at += <uint32_t>n
    if b.at == b.end:
        buffer_release(b, pool)
