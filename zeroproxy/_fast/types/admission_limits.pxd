# Shares of an upstream: permits, limits, tenants. No code; the laws of http.pxd hold here too.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t


cdef enum:
    TENANT_SHARE_ONE = 1024     # AdmissionSettings.tenant_share of everything


cdef struct AdmissionSettings:  # of an upstream; written by Python
    uint32_t max_inflight   # per endpoint; 0: no limit
    uint32_t min_inflight   # a limit that adapts itself goes no lower
    uint32_t queue_max
    uint32_t tenant_share   # of all permits, for one tenant; of TENANT_SHARE_ONE
    uint8_t steers          # refused callers get a time of their own; retries go behind
    uint8_t heeds_deadlines     # a caller who cannot be served in time is refused at once
    uint64_t ttft_target_ns     # 0: limits do not adapt themselves
    uint64_t hold_ns        # exchanges wait so long where no endpoint is in rotation; 0: refused


cdef struct Limit:          # exchanges in flight at one endpoint
    uint32_t now            # 0: no limit
    uint64_t exact          # the same in 1/LIMIT_ONE, where it adapts itself
    uint64_t cut_ns         # when it was lowered last
    uint32_t n_cuts


cdef struct TenantShare:    # what one tenant has of an upstream
    int64_t virtual_tokens  # tokens, weighted; fair is to let the smallest go first
    int64_t mean            # tokens of one of its exchanges, smoothed
    uint32_t inflight
    uint32_t queued
    uint64_t visit_ns       # when the caller that was refused last is to come again
