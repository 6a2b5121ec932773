# An endpoint's pool: settings, learned limits, and reasons for the end of a conn. No code; the laws
# of http.pxd hold here too.

from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef enum Closed:           # why an upstream conn was closed
    CLOSED_PEER = 0         # the endpoint closed it while it was idle, or sent bytes on it
    CLOSED_IDLE             # it was idle as long as it may
    CLOSED_AGE              # max_age, max_requests, or the endpoint's own `max=`
    CLOSED_SURPLUS          # no place in the pool, or the endpoint is out of rotation
    CLOSED_EXCHANGE         # it ended with its exchange: not clean, not to be kept, or lost
    CLOSED_COUNT            # always last


cdef struct PoolSettings:   # written by Python; 0: no limit
    uint64_t idle_ns        # the longest idle time
    uint64_t max_age_ns     # of a conn
    uint64_t warm_idle_ns   # conns are kept warm for so long after an exchange
    uint32_t max_idle       # here 0 means none
    uint32_t max_requests   # on one conn
    uint32_t max_connections
    uint32_t warm           # idle conns to have ready; 0: none
    uint32_t tcp_idle       # seconds of silence before a TCP keep-alive; 0: none
    uint8_t learns          # learned limits count


cdef struct LearnedKeepAlive:
    uint64_t announced_idle_ns  # safe share of Keep-Alive: timeout=; 0: not announced
    uint64_t observed_idle_ns   # safe share of the shortest idle time that it ended; 0: none
    uint64_t seen_ns        # when that was changed
    uint32_t announced_max  # Keep-Alive: max=; 0: not announced
