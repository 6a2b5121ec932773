# Waits: for an endpoint where none is in rotation, and in a queue. No code; the laws of http.pxd
# hold here too.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from zeroproxy._fast.types.reactor cimport Timer


cdef enum Doubt:            # of one endpoint
    DOUBT_NONE = 0
    DOUBT_PROBE             # its last health probe was not answered well: a 503 means it is loading
    DOUBT_REFUSES           # an attempt did not get through, and nothing good was seen since


cdef struct Hold:           # of an upstream without an endpoint that takes requests
    uint64_t since_ns       # 0: there is one
    uint64_t back_ns        # when one came back last; 0: never
    uint64_t trial_ns       # when an endpoint that refuses connections is tried again
    uint64_t wait_ns        # between two trials
    uint64_t n_held         # exchanges that have waited for an endpoint, each once
    uint32_t n_let_go       # out of the queue, since back_ns
    uint8_t is_on           # since_ns is set, or the queue is let go bit by bit
    uint8_t has_trial       # one is under way
    Timer timer             # armed while it is on and a relay is in the queue


cdef struct Departures:      # of a queue: how fast it moves, and who comes to it
    uint64_t last_ns        # when one was admitted out of it last
    uint64_t gap_ns         # mean time between two of them; 0: not known
    uint32_t n              # of them that the mean is over, at most
    uint64_t n_again        # requests that their callers' SDKs have sent before
    uint64_t n_too_late     # refused: their callers would have left before their turn


cdef struct Waiting:        # what one exchange's wait depends on
    uint64_t hold_ns        # AdmissionSettings.hold_ns when it was routed; 0 in a drain
    uint64_t patience_ns    # its caller leaves so long after began_ns; 0: not known
    uint8_t is_again        # the caller's SDK has sent it before
    uint8_t was_held        # it has waited for an endpoint
    uint8_t is_trial        # its attempt tries an endpoint that has refused connections
    uint8_t lacks_time      # refused: its caller would leave before its turn
