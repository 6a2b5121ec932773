# Prefetch of memory that will be needed soon, while other work is done. No code of its own.

from libc.stddef cimport size_t

cdef extern from *:
    """
    #include <stddef.h>

    static inline void zp_prefetch(const void *at, size_t len) {
        const char *line = (const char *)((size_t)at & ~(size_t)63);
        for (; line < (const char *)at + len; line += 64)
            __builtin_prefetch(line);
    }

    static inline void zp_prefetch_part(const void *base, size_t begin, size_t end) {
        const char *lines = (const char *)__builtin_assume_aligned(base, 64);

        for (size_t at = begin & ~(size_t)63; at < end; at += 64)
            __builtin_prefetch(lines + at);
    }
    """
    # Prefetch the lines of [at, at + len). An address that is not good costs nothing.
    void prefetch "zp_prefetch"(const void *at, size_t len) nogil
    # Prefetch those of [begin, end) behind `base`, which begins a line. Constants cost no loop.
    void prefetch_part "zp_prefetch_part"(const void *base, size_t begin, size_t end) nogil
