"""Fifos of relays that wait. A relay is in one fifo at a time."""

from zeroproxy._fast.types.plane cimport Relay, RelayFifo


cdef void fifo_push(RelayFifo *l, Relay *r) noexcept nogil:
    r.queue_next = NULL
    r.queue_prev = l.tail
    if l.tail != NULL:
        l.tail.queue_next = r
    else:
        l.head = r
    l.tail = r
    l.n += 1


cdef void fifo_push_first(RelayFifo *l, Relay *r) noexcept nogil:
    r.queue_prev = NULL
    r.queue_next = l.head
    if l.head != NULL:
        l.head.queue_prev = r
    else:
        l.tail = r
    l.head = r
    l.n += 1


cdef void fifo_remove(RelayFifo *l, Relay *r) noexcept nogil:
    if r.queue_prev != NULL:
        r.queue_prev.queue_next = r.queue_next
    else:
        l.head = r.queue_next
    if r.queue_next != NULL:
        r.queue_next.queue_prev = r.queue_prev
    else:
        l.tail = r.queue_prev
    r.queue_prev = r.queue_next = NULL
    l.n -= 1
