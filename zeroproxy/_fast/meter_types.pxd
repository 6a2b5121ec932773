# The meter's own words; see meter.pxd. cimports libc and types only.

from libc.stdint cimport uint8_t


cdef struct Meter:
    uint8_t at_edge         # 1: the last byte seen ended an event
