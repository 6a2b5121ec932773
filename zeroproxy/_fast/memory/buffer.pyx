"""The block pool: three sizes, free lists with a bound, everything else to the allocator.

A block is lent while bytes wait in it and no longer. The pool keeps a bounded number of free
blocks per size, so a burst does not become a permanent footprint.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove

from zeroproxy._fast.types.invariant cimport invariant
from zeroproxy._fast.types.memory cimport (
    BLOCK_CLASSES,
    BLOCK_LARGE,
    BLOCK_MEDIUM,
    BLOCK_SMALL,
    BlockPool,
    Buffer,
)


cdef uint32_t class_size(int k) noexcept nogil:
    return BLOCK_SMALL if k == 0 else BLOCK_MEDIUM if k == 1 else BLOCK_LARGE


cdef int class_for(size_t n) noexcept nogil:
    return 0 if n <= BLOCK_SMALL else 1 if n <= BLOCK_MEDIUM else 2 if n <= BLOCK_LARGE else -1


cdef void pool_init(BlockPool *pool) noexcept nogil:
    cdef int k
    for k in range(BLOCK_CLASSES):
        pool.free_head[k] = NULL
        pool.n_free[k] = 0
    # About 1 MiB stays cached in all: enough to make a steady load allocation-free.
    pool.keep[0] = 128
    pool.keep[1] = 16
    pool.keep[2] = 8
    pool.bytes_out = 0


cdef void pool_close(BlockPool *pool) noexcept nogil:
    cdef int k
    cdef void *block
    for k in range(BLOCK_CLASSES):
        while pool.free_head[k] != NULL:
            block = pool.free_head[k]
            pool.free_head[k] = (<void **>block)[0]
            free(block)
        pool.n_free[k] = 0


cdef char *acquire_block(BlockPool *pool, int k) noexcept nogil:
    cdef void *block = pool.free_head[k]
    if block != NULL:
        pool.free_head[k] = (<void **>block)[0]
        pool.n_free[k] -= 1
    else:
        block = malloc(class_size(k))
        if block == NULL:
            return NULL
    pool.bytes_out += class_size(k)
    return <char *>block


cdef void release_block(BlockPool *pool, char *block, uint32_t cap) noexcept nogil:
    cdef int k = class_for(cap)
    invariant(pool.bytes_out >= cap)
    pool.bytes_out -= cap
    if pool.n_free[k] >= pool.keep[k]:
        free(block)
        return
    (<void **>block)[0] = pool.free_head[k]
    pool.free_head[k] = block
    pool.n_free[k] += 1


cdef bint buffer_reserve(Buffer *b, BlockPool *pool, size_t room) noexcept nogil:
    """Make room for `room` more bytes behind `end`. 0: it would exceed the largest block, or no
    memory; the buffer is unchanged then."""
    cdef size_t kept = b.end - b.at
    cdef int k
    cdef char *block
    if b.cap - b.end >= room and b.cap:
        return 1
    if b.cap >= kept + room:
        memmove(b.data, b.data + b.at, kept)
        b.at = 0
        b.end = <uint32_t>kept
        return 1
    k = class_for(kept + room)
    if k < 0:
        return 0
    block = acquire_block(pool, k)
    if block == NULL:
        return 0
    if b.cap:
        memcpy(block, b.data + b.at, kept)
        release_block(pool, b.data, b.cap)
    b.data = block
    b.cap = class_size(k)
    b.at = 0
    b.end = <uint32_t>kept
    return 1


cdef bint buffer_append(Buffer *b, BlockPool *pool, const char *at, size_t n) noexcept nogil:
    """Copy `n` bytes behind `end`. 0: no room within the largest block; nothing was copied."""
    if n == 0:
        return 1
    if not buffer_reserve(b, pool, n):
        return 0
    memcpy(b.data + b.end, at, n)
    b.end += <uint32_t>n
    return 1


cdef void buffer_clear(Buffer *b, BlockPool *pool) noexcept nogil:
    if b.cap:
        release_block(pool, b.data, b.cap)
    b.data = NULL
    b.at = b.end = b.cap = 0
