# Buffers of borrowed blocks.
#
# Law 1. 0 <= at <= end <= cap; cap == 0 exactly when the buffer holds no block.
# Law 2. An empty buffer releases its block at once: without bytes that wait it holds nothing.
# Law 3. Blocks come in three sizes and are lent by one pool; nothing is allocated per read.
# Tests: tests/unit/test_core.py.

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t

from zeroproxy._fast.types.memory cimport BlockPool, Buffer


cdef extern from "stdlib.h" nogil:
    void *aligned_alloc(size_t line, size_t n)


cdef enum:
    LINE = 64               # bytes that come from memory together


cdef inline void *alloc_lines(size_t n) noexcept nogil:
    """Allocate `n` bytes that begin a line, for data touched with every event. NULL: no memory."""
    return aligned_alloc(LINE, (n + LINE - 1) // LINE * LINE)


# Prepare an empty pool; nothing is allocated.
cdef void pool_init(BlockPool *pool) noexcept nogil
# Free the blocks in the pool. Lent ones must be back.
cdef void pool_close(BlockPool *pool) noexcept nogil
# Make room for `room` more bytes behind `end`. 0: above the largest block, or no memory; unchanged.
cdef bint buffer_reserve(Buffer *b, BlockPool *pool, size_t room) noexcept nogil
# Copy `n` bytes behind `end`. 0: no room; nothing was copied.
cdef bint buffer_append(Buffer *b, BlockPool *pool, const char *at, size_t n) noexcept nogil
# Return the block to the pool; the buffer is empty.
cdef void buffer_clear(Buffer *b, BlockPool *pool) noexcept nogil


# Number of bytes that wait.
cdef inline uint32_t buffer_len(const Buffer *b) noexcept nogil:
    return b.end - b.at


# First byte that waits; borrowed until the next call on the buffer.
cdef inline char *buffer_bytes(const Buffer *b) noexcept nogil:
    return b.data + b.at


# Drop the first `n` bytes; an empty buffer returns its block.
cdef inline void buffer_consume(Buffer *b, BlockPool *pool, size_t n) noexcept nogil:
    b.at += <uint32_t>n
    if b.at == b.end:
        buffer_clear(b, pool)
