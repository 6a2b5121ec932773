from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef enum AffinityState:
    AFFINITY_MORE = 0       # it may stand further on
    AFFINITY_FOUND
    AFFINITY_ABSENT


cdef struct AffinityScan:   # what a request body says of whose it is
    uint8_t user            # AffinityState
    uint8_t prompt
    uint64_t user_hash
    uint64_t prompt_hash


cdef uint64_t key_of(const char *at, size_t len) noexcept nogil
cdef void affinity_scan_read(
    AffinityScan *k, const char *at, size_t len, bint is_all, uint32_t prefix,
) noexcept nogil
