# The words of the choice of an endpoint: what keys are made of, and how quick an endpoint is. No
# code; the laws of http.pxd hold here too.

from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef enum Balance:
    BALANCE_ROUND_ROBIN = 0
    BALANCE_LEAST_INFLIGHT
    BALANCE_POWER_OF_TWO
    BALANCE_CONSISTENT_HASH
    BALANCE_FASTEST
    BALANCE_COUNT           # always last


cdef enum HashSource:       # what a request's key is made of
    HASH_SOURCE_HEADER = 0
    HASH_SOURCE_USER        # who the body says is asking
    HASH_SOURCE_PROMPT      # how the prompt begins
    KEY_OF_COUNT            # always last


cdef enum:
    HASH_PARTS_MAX = 4      # of one upstream


cdef struct HashPart:
    uint8_t source          # HashSource
    uint8_t len
    char[64] name           # of a header field, in lower case


cdef struct HashSettings:   # how an upstream makes keys; consistent_hash only
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
    double low              # y of little load, whatever the line says there
    uint64_t at_ns          # the last sample


cdef struct ReportedLoad:   # what the server says of itself
    uint32_t running
    uint32_t waiting
    double cache            # share of its cache that is used; -1: it does not say
    uint32_t inflight       # ours, when it said so
    uint64_t until_ns       # forgotten then


cdef struct LatencyModel:   # how quick one endpoint is; fastest only
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
