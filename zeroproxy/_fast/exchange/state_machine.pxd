from zeroproxy._fast.types.exchange_enums cimport Action, Input


cdef struct RetryFacts:     # inputs of may_retry
    bint head_sent          # a response byte went downstream
    bint got_byte           # a response byte came from upstream in this attempt
    bint replayable         # every request byte sent is still held
    bint connected          # the conn was established
    bint reused             # the conn had served before
    bint is_race            # reused, and it ended too early for the endpoint to have worked
    bint is_idempotent      # the method is: twice has the effect of once (RFC 9110 9.2.2)
    bint busy               # the endpoint answered 503 or 429 and retry.on_busy is set
    bint timed_out
    int tried
    int attempts

# Move `phase` by one input; returns the action. ACT_BUG: no such move, the phase is CLOSED.
cdef Action exchange_step(unsigned char *phase, Input what) noexcept nogil
# Return 1 if another attempt is allowed.
cdef bint may_retry(const RetryFacts *a) noexcept nogil
