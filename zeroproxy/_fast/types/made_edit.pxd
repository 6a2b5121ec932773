# Edits of one request that were made. No code; the laws of http.pxd hold here too.

from libc.stdint cimport int8_t, uint16_t, uint32_t

cdef enum:
    EDITS_MAX = 4           # to one request


cdef struct MadeEdit:       # an edit that was made, while it can be taken back
    uint32_t at             # offset in Exchange.replay
    uint16_t n
    int8_t was              # edits.Was
