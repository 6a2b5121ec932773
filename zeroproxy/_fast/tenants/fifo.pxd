from zeroproxy._fast.types.plane cimport Relay, RelayFifo

# Append a relay that is in no other fifo; borrowed.
cdef void fifo_push(RelayFifo *l, Relay *r) noexcept nogil
# Put a relay that is in no other fifo before all others; borrowed.
cdef void fifo_push_first(RelayFifo *l, Relay *r) noexcept nogil
# Remove a relay from the fifo, from any place.
cdef void fifo_remove(RelayFifo *l, Relay *r) noexcept nogil
