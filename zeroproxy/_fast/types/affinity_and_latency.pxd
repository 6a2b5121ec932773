# Load balancing: sources of affinity and the latency model. No code; the laws of http.pxd hold here
# too.

from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef enum Balance:
    BALANCE_ROUND_ROBIN = 0
    BALANCE_LEAST_INFLIGHT
    BALANCE_POWER_OF_TWO
    BALANCE_CONSISTENT_HASH
    BALANCE_FASTEST
    BALANCE_COUNT           # always last


cdef enum HashSource:       # source of a request's affinity
    HASH_SOURCE_HEADER = 0
    HASH_SOURCE_USER        # the user that the body names
    HASH_SOURCE_PROMPT      # the first bytes of the prompt
    HASH_SOURCE_COUNT       # always last


cdef enum:
    HASH_PARTS_MAX = 4      # of one upstream


cdef struct HashPart:
    uint8_t source          # HashSource
    uint8_t len
    char[64] name           # of a header field, in lower case


cdef struct HashSettings:   # affinity at an upstream; consistent_hash only
    uint8_t n
    HashPart[HASH_PARTS_MAX] parts  # the first that a request has wins
    uint32_t prefix_bytes   # of a prompt
    double bound            # no endpoint has more than so many times its fair share in flight


cdef struct LinearFit:      # y = a + b * q, or low, by weighted least squares; the weights fade
    double w                # sum of the weights; 0: no sample
    double q
    double y
    double qq
    double qy
    double a                # y is in ns
    double b                # >= 0
    double low              # y of little load, which the line may miss
    uint64_t at_ns          # the last sample


cdef struct ReportedLoad:   # the load that a server reports
    uint32_t running
    uint32_t waiting
    double cache            # used share of its cache; -1: not reported
    uint32_t inflight       # ours at the time of the report
    uint64_t until_ns       # forgotten then


cdef struct LatencyModel:   # times of one endpoint; `fastest` only
    LinearFit first         # to the first byte of an answer that comes event by event
    LinearFit gap           # between two events of it
    LinearFit whole         # to the last byte of an answer that comes in one piece
    uint32_t failures       # attempts failed since the last good answer
    uint64_t area           # exchanges in flight, integrated over ns; wraps
    uint64_t area_ns        # up to here
    uint64_t tried_ns       # an attempt last began
    ReportedLoad reported


cdef struct ResponseLength:     # of an upstream's answers, as averages that fade
    uint32_t n              # answers seen
    double events           # of one that comes event by event
    double streamed         # share of those
