# The meter's own words; see meter.pyx. cimports libc only.

from libc.stdint cimport uint8_t, uint32_t


cdef struct Meter:
    uint32_t n_events       # SSE events that have ended
    char[4] tail            # the last bytes seen, newest last
    uint8_t at_edge         # 1: the last byte seen ended an event, or nothing was seen yet
