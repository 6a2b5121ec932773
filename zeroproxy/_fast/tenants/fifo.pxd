from zeroproxy._fast.types.plane cimport Relay, RelayFifo

cdef void fifo_push(RelayFifo *l, Relay *r) noexcept nogil
cdef void fifo_remove(RelayFifo *l, Relay *r) noexcept nogil
