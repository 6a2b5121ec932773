from libc.stdint cimport uint32_t, uint64_t

from zeroproxy._fast.plane cimport Record


cdef struct Ring:
    Record *slots           # owned
    uint32_t mask           # slots - 1; a power of two
    char[52] _pad0          # the two indices live on cache lines of their own
    uint64_t head           # written by the producer
    uint64_t seen_tail      # the producer's copy of tail
    uint64_t n_overflow     # records that found the ring full; their totals are in Stats
    char[40] _pad1
    uint64_t tail           # written by the consumer
    uint64_t seen_head      # the consumer's copy of head
    char[48] _pad2

cdef int ring_init(Ring *r, uint32_t slots) noexcept nogil
cdef void ring_close(Ring *r) noexcept nogil
cdef bint ring_push(Ring *r, const Record *record) noexcept nogil
cdef bint ring_pop(Ring *r, Record *record) noexcept nogil
cdef uint64_t ring_len(const Ring *r) noexcept nogil
