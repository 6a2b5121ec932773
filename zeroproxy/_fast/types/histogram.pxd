# Counts of durations. No code; the laws of http.pxd hold here too.

from libc.stdint cimport uint64_t


cdef struct Histogram:      # counts per bucket, the last one is +Inf; sum in ns
    uint64_t counts[24]
    uint64_t sum_ns
    uint64_t n
