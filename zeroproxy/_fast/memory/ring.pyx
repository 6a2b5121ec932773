"""Records on their way to the flusher: single producer, single consumer, fixed size.

Law 1. `head` is written only by the producer (the engine), `tail` only by the consumer (the
       flusher's thread). head - tail <= slots, always; both only grow.
Law 2. A slot's bytes are written before `head` is released, and read before `tail` is.
Law 3. A full ring refuses the record and counts it. Detail is lost then, totals never: the caller
       adds the record to the overflow (usage/overflow.pyx).
Law 4. A consumer may sleep until there is enough: the producer wakes it, once. A wake too many can
       happen, one too few cannot: both sides write first, then look, in one order for all.
Tests: tests/unit/test_core.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from zeroproxy._fast.memory.futex cimport futex_wait, futex_wake
from zeroproxy._fast.memory.ring cimport Ring
from zeroproxy._fast.types.model_name cimport MODEL_MAX
from zeroproxy._fast.types.record cimport Record


cdef extern from "atomics.h" nogil:
    uint64_t load_acquire "zp_load_acquire"(const uint64_t *at) noexcept
    void store_release "zp_store_release"(uint64_t *at, uint64_t value) noexcept
    uint64_t load_ordered "zp_load_ordered"(const uint64_t *at) noexcept
    void store_ordered "zp_store_ordered"(uint64_t *at, uint64_t value) noexcept

cdef uint64_t NEVER = <uint64_t>-1


cdef int ring_init(Ring *r, uint32_t slots) noexcept nogil:
    """Allocate `slots` records, a power of two. -1: no memory."""
    r.slots = <Record *>calloc(slots, sizeof(Record))
    r.mask = slots - 1
    r.head = r.tail = r.seen_head = r.seen_tail = r.n_overflow = r.done = 0
    r.wake_at = NEVER
    r.wakeup.word = 0
    return 0 if r.slots != NULL else -1


cdef void ring_close(Ring *r) noexcept nogil:
    free(r.slots)
    r.slots = NULL


cdef inline size_t record_size(const Record *record) noexcept nogil:
    """Bytes of a record up to the end of its model's name, which is last, and mostly short."""
    return sizeof(Record) - MODEL_MAX + record.model_len


cdef bint ring_push(Ring *r, const Record *record) noexcept nogil:
    """Producer only: copy a record in. 0: full, counted."""
    if r.head - r.seen_tail > r.mask:
        r.seen_tail = load_acquire(&r.tail)
        if r.head - r.seen_tail > r.mask:
            r.n_overflow += 1
            return 0
    memcpy(&r.slots[r.head & r.mask], record, record_size(record))
    store_ordered(&r.head, r.head + 1)
    if r.head >= load_ordered(&r.wake_at):
        store_ordered(&r.wake_at, NEVER)
        futex_wake(&r.wakeup)
    return 1


cdef bint ring_pop(Ring *r, Record *record) noexcept nogil:
    """Consumer only: copy a record out. 0: empty."""
    cdef const Record *slot = &r.slots[r.tail & r.mask]
    if r.tail == r.seen_head:
        r.seen_head = load_acquire(&r.head)
        if r.tail == r.seen_head:
            return 0
    memcpy(record, slot, record_size(slot))
    store_release(&r.tail, r.tail + 1)
    return 1


cdef void ring_await(Ring *r, uint64_t n, uint64_t ns) noexcept nogil:
    """Consumer only: sleep until there are `n` records, it is woken, or `ns` are over. Half a ring
    is always enough: the rest has room while the consumer wakes up."""
    cdef uint64_t half = (<uint64_t>r.mask + 1) >> 1
    cdef uint64_t enough = r.tail + (n if n < half else half)
    store_ordered(&r.wake_at, enough)
    if load_ordered(&r.head) < enough:
        futex_wait(&r.wakeup, ns)
    store_ordered(&r.wake_at, NEVER)


cdef void ring_wake(Ring *r) noexcept nogil:
    """End the sleep of the consumer, or its next one. Any thread."""
    futex_wake(&r.wakeup)


cdef uint64_t ring_head(const Ring *r) noexcept nogil:
    """Number of records there have been. Any thread."""
    return load_acquire(&r.head)


cdef void ring_finish(Ring *r) noexcept nogil:
    """Consumer only: it has finished with the records that it has taken."""
    store_release(&r.done, r.tail)


cdef uint64_t ring_done(const Ring *r) noexcept nogil:
    """Number of records up to the last ring_finish. Any thread."""
    return load_acquire(&r.done)


cdef uint64_t ring_len(const Ring *r) noexcept nogil:
    return load_acquire(&r.head) - load_acquire(&r.tail)
