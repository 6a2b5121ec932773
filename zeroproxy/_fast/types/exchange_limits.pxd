# Limits of an exchange, and counters of what is lent. No code; the laws of http.pxd hold here too.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from zeroproxy._fast.types.http cimport HeadLimits


cdef struct Limits:         # times in ns, 0: none
    HeadLimits request
    HeadLimits response
    uint64_t body_bytes
    uint32_t connections
    uint32_t interims       # 1xx per response
    uint32_t extra_bytes    # chunk extensions and trailers per message
    uint64_t header_ns      # from the first byte of a head to its last
    uint64_t body_ns        # between two reads of a request body
    uint32_t body_rate      # bytes a second of a body that goes on as it comes; 0: none
    uint64_t idle_ns        # keep-alive without a request
    uint64_t stall_ns       # a write that makes no progress
    uint64_t linger_ns
    uint64_t tunnel_ns      # a tunnel idle in both directions


cdef struct Counters:       # acquired minus released: all zero when all is quiet
    int64_t relays
    int64_t upstream_conns
    int64_t permits
    uint64_t accepted
    uint64_t refused        # above the connection cap
    uint64_t starved        # accept failed: EMFILE, ENFILE, ENOMEM
    uint64_t exchanges
    uint64_t comments       # of ours, sent to keep a stream alive
    uint64_t early_heads    # heads of streams that were sent before the engine's
    uint64_t bugs           # moves that are not in the table


cdef enum:
    KEEPALIVE_AUTO = 1      # ns: the caller's read timeout decides


cdef struct KeepAlive:      # of an event stream (exchange/keepalive.pyx)
    uint64_t after_ns       # silence before a comment; 0: none is sent
    uint64_t last_ns        # when the last one went downstream, or could not
    uint8_t has_comment     # one has gone downstream
    uint8_t has_head        # the caller has a head of ours, sent before the engine's


cdef enum:
    HEDGE_ONE = 65536       # the cost of a second attempt at the same time
    HEDGES_KEPT = 10        # so many may be saved up


cdef struct ExchangeSettings:   # in force when the exchange began: a reload changes none of it
    uint32_t extra_bytes
    uint32_t interims
    uint16_t max_attempts
    uint8_t retry_on_busy
    uint8_t serves_half_close
    uint32_t body_rate
    uint64_t body_bytes
    uint64_t body_ns        # time limits; 0: none
    uint64_t stall_ns
    uint64_t tunnel_ns
    uint64_t queue_ns       # this and those below: its upstream's
    uint64_t connect_ns
    uint64_t first_byte_ns
    uint64_t stream_idle_ns
    uint64_t total_ns
    uint64_t hedge_ns
