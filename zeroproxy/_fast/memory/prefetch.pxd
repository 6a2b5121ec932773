# Memory that will be needed soon, asked for while something else is being done. No code of its own.

from libc.stddef cimport size_t

cdef extern from *:
    """
    #include <stddef.h>

    static inline void zp_prefetch(const void *at, size_t len) {
        const char *line = (const char *)((size_t)at & ~(size_t)63);
        for (; line < (const char *)at + len; line += 64)
            __builtin_prefetch(line);
    }
    """
    # The lines of [at, at + len). An address that is not good costs nothing.
    void prefetch "zp_prefetch"(const void *at, size_t len) nogil
