from libc.stdint cimport uint32_t, uint64_t

from zeroproxy._fast.memory.futex cimport Futex
from zeroproxy._fast.types.record cimport Record


cdef struct Ring:
    Record *slots           # owned
    Futex wakeup            # the consumer sleeps by it
    uint32_t mask           # slots - 1; a power of two
    char[64] _pad0          # the two indices: on cache lines of their own, however it lies
    uint64_t head           # written by the producer
    uint64_t seen_tail      # the producer's copy of tail
    uint64_t n_overflow     # records that found the ring full; their totals are in Stats
    uint64_t wake_at        # head at which the consumer is to be woken; NEVER: it is awake
    char[64] _pad1
    uint64_t tail           # written by the consumer
    uint64_t seen_head      # the consumer's copy of head
    uint64_t done           # records it has finished with
    char[64] _pad2


# ---- life

# Allocate `slots` records, a power of two. -1: no memory.
cdef int ring_init(Ring *r, uint32_t slots) noexcept nogil
# Free the slots. Neither side may be inside a call.
cdef void ring_close(Ring *r) noexcept nogil

# ---- records in and out

# Producer only: copy a record in. 0: full, counted.
cdef bint ring_push(Ring *r, const Record *record) noexcept nogil
# Consumer only: copy a record out. 0: empty.
cdef bint ring_pop(Ring *r, Record *record) noexcept nogil

# ---- the consumer's sleep

# Consumer only: sleep until there are `n` records, it is woken, or `ns` are over.
cdef void ring_await(Ring *r, uint64_t n, uint64_t ns) noexcept nogil
# End the sleep of the consumer, or its next one. Any thread.
cdef void ring_wake(Ring *r) noexcept nogil

# ---- numbers

# Number of records there have been. Any thread.
cdef uint64_t ring_head(const Ring *r) noexcept nogil
# Consumer only: it has finished with the records that it has taken.
cdef void ring_finish(Ring *r) noexcept nogil
# Number of records up to the last ring_finish. Any thread.
cdef uint64_t ring_done(const Ring *r) noexcept nogil
# Number of records that wait. Any thread.
cdef uint64_t ring_len(const Ring *r) noexcept nogil
