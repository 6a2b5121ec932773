# Blocks and buffers. No code.

from libc.stdint cimport uint32_t, uint64_t


cdef enum:
    # One read. An SSE burst fits many times over; a prompt upload of 100 MB takes 1,600 of them.
    # A whole read plus our framing (<= 32 bytes) fits one large block. So the bytes that a send
    # could not take always fit one block of the conn.
    READ_MAX = 64512
    SLACK = 512             # before and after a read: room to write chunk framing in place
    BLOCK_CLASSES = 3       # 2 KiB, 16 KiB, 66 KiB
    BLOCK_SMALL = 2048      # a chat request with a short prompt
    BLOCK_MEDIUM = 16384
    BLOCK_LARGE = 67584


cdef struct Buffer:         # bytes [at, end) of one block; empty buffers hold no block
    uint32_t at
    uint32_t end
    char *data              # owned; from and to the BlockPool
    uint32_t cap            # 0: no block


cdef struct BlockPool:
    void *free_head[BLOCK_CLASSES]  # owned; singly linked through the first word
    uint32_t n_free[BLOCK_CLASSES]
    uint32_t keep[BLOCK_CLASSES]    # more than this many free blocks go back to the allocator
    uint64_t bytes_out      # bytes lent out at the moment
