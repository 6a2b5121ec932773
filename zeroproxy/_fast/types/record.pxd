# The record of one finished exchange. No code; the laws of http.pxd hold here too.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from zeroproxy._fast.types.meter cimport Tokens
from zeroproxy._fast.types.model_name cimport MODEL_MAX
from zeroproxy._fast.types.network cimport Address


cdef enum UsageBy:          # the party that asked for usage
    USAGE_BY_NOBODY = 0
    USAGE_BY_CALLER
    USAGE_BY_US
    USAGE_BY_REFUSED        # the endpoint refuses to count
    USAGE_BY_UNASKED        # the request could not be held, and was passed on as it was
    USAGE_BY_COUNT          # always last


cdef struct Record:         # of one finished exchange; fixed size, no pointers
    uint64_t began_wall_ns
    uint64_t queue_ns       # durations; 0: did not happen
    uint64_t connect_ns
    uint64_t ttft_ns        # first byte of the request head to Exchange.first_content_ns
    uint64_t gap_mean_ns    # between two reads of a streamed response
    uint64_t gap_max_ns
    uint64_t total_ns
    uint64_t bytes_in
    uint64_t bytes_out
    uint32_t n_events
    uint16_t status
    uint16_t upstream       # indices; 0xFFFF: none
    uint16_t endpoint
    uint8_t blame
    uint8_t cause
    uint8_t phase
    uint8_t method
    uint8_t n_attempts
    uint8_t exactness
    uint8_t finish          # response_meter.Finish
    uint8_t usage_by        # UsageBy
    uint8_t is_streamed
    uint8_t trace_flags
    uint8_t has_parent
    Address caller
    uint16_t tenant         # index; 0: none
    uint16_t model_len
    uint8_t id_len
    uint8_t path_len
    uint64_t serial         # unique within the process
    Tokens tokens
    char trace[16]
    char span[8]
    char parent[8]
    char request_id[128]
    char path[64]
    char model[MODEL_MAX]   # model_len of them
