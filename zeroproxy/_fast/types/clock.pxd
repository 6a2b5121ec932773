# Time. Monotonic nanoseconds for every deadline and duration, read once per batch of reports;
# wall-clock nanoseconds only for the start of an exchange in its record.

from libc.stdint cimport uint64_t
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec

cdef enum:
    NS_PER_MS = 1000000
    NS_PER_S = 1000000000


# Nanoseconds of the monotonic clock.
cdef inline uint64_t clock_monotonic_ns() noexcept nogil:
    cdef timespec ts
    clock_gettime(CLOCK_MONOTONIC, &ts)
    return <uint64_t>ts.tv_sec * <uint64_t>NS_PER_S + <uint64_t>ts.tv_nsec


# Nanoseconds since the epoch.
cdef inline uint64_t clock_wall_ns() noexcept nogil:
    cdef timespec ts
    clock_gettime(CLOCK_REALTIME, &ts)
    return <uint64_t>ts.tv_sec * <uint64_t>NS_PER_S + <uint64_t>ts.tv_nsec
