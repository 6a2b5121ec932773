# The circuit breaker. No code. The laws of http.pxd hold here too.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef enum:
    WINDOW_SLOTS = 8        # of a breaker's sliding window


cdef struct BreakerSettings:    # of an upstream's breakers; times in ns
    uint32_t failures       # so many in a row open it; 0: not counted
    uint32_t rate           # so many of RATE_ONE in the window open it; 0: the rate is ignored
    uint32_t min_requests   # in the window, before their rate counts
    uint32_t probes         # let through at a time while half open
    uint8_t counts_busy     # 429 and 503 are failures
    uint64_t window_ns      # 0: failures in a row count however far apart
    uint64_t open_ns
    uint64_t slow_start_ns  # 0: a recovered endpoint has its full share at once


cdef struct Breaker:        # of one endpoint; upstream/breaker.pyx
    uint8_t state           # breaker.BreakerState
    uint8_t is_unconfirmed  # closed again, and no attempt has ended well since
    uint16_t epoch          # attempts of another one do not count; opening begins one
    uint32_t in_a_row       # failures
    uint32_t n_probing      # half open: attempts under way
    uint32_t n_confirmed    # half open: attempts that were answered
    uint32_t n_trips        # openings since an attempt last ended well
    uint64_t due_ns         # open: when it half opens
    uint64_t slot           # number of the window's newest slot
    uint32_t[WINDOW_SLOTS] n_ok
    uint32_t[WINDOW_SLOTS] n_failed
    uint64_t[3] transitions     # by the state they led to


cdef struct BreakerTicket:  # an attempt, as its endpoint's breaker counts it
    uint16_t epoch
    uint8_t is_probe        # counted in n_probing
    uint8_t result          # breaker.AttemptResult
