from libc.stdint cimport uint32_t, uint64_t

from zeroproxy._fast.types.key_and_quota cimport ApiKey
from zeroproxy._fast.types.plane cimport Relay

# Return the Fault of a key that is disabled, or has expired at this time of the wall clock.
cdef int term_fault(const ApiKey *k, uint64_t wall_ns) noexcept nogil
# Return 1 if the key may use the upstream of this index; without a list it may use all.
cdef bint key_allows_upstream(const ApiKey *k, uint32_t index) noexcept nogil
# Count a refusal by a Fault of the key's terms; no other Fault is counted. `k` may be NULL.
cdef void count_term(ApiKey *k, int fault) noexcept nogil

# ---- places in flight

# Take one of the key's places for `r`. 0: none is free. Without a key there is nothing to take.
cdef bint acquire_place(Relay *r) noexcept nogil
# Release the place of `r`. 0: it held none.
cdef bint release_place(Relay *r) noexcept nogil
# Let `r` wait for a place. 0: its key does not wait, or `most` wait already.
cdef bint wait_for_place(Relay *r, uint32_t most) noexcept nogil
# Let `r` wait no more, if it does.
cdef void stop_waiting_for_place(Relay *r) noexcept nogil
# Give a free place to the relay that waits longest, which waits no more; borrowed. NULL: none.
cdef Relay *next_for_place(ApiKey *k) noexcept nogil
