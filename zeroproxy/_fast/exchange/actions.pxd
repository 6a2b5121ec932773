from libc.stddef cimport size_t

from zeroproxy._fast.types.plane cimport Plane, Relay

# Send 100 Continue downstream.
cdef void send_continue(Plane *p, Relay *r) noexcept nogil
# Move the exchange by one input and perform the actions until it has to wait. May close `r`.
cdef void feed(Plane *p, Relay *r, int what) noexcept nogil
# Try again to get a conn for an exchange that waits for one. May close `r`.
cdef void connect_waiting(Plane *p, Relay *r) noexcept nogil
# Go on with PHASE_FLUSHING: the downstream socket takes bytes again. May close `r`.
cdef void flush_more(Plane *p, Relay *r) noexcept nogil
# Note who is to blame and why, then feed the input.
cdef void end_with(Plane *p, Relay *r, int what, int who, int why) noexcept nogil
# End an attempt that failed before a response head: another one, or an error. May close `r`.
cdef void lose_attempt(Plane *p, Relay *r, int why) noexcept nogil
# Return 1 if the answer was relayed to the end of its dialect, without an error in it.
cdef bint is_answered(const Relay *r) noexcept nogil
# End a response that upstream broke after its head was sent downstream. May close `r`.
cdef void cut(Plane *p, Relay *r, int why) noexcept nogil
# Pass request bytes to the replay buffer and to a conn that has the head. 0: the conn broke.
cdef bint send_up(Plane *p, Relay *r, const char *at, size_t n) noexcept nogil
# Retry after an answer 503 or 429. 1: another attempt is on its way; 0: relay the answer.
cdef bint try_elsewhere(Plane *p, Relay *r) noexcept nogil
# Retry after a 408 that a server sent to an idle conn. 1: another attempt; 0: relay the answer.
cdef bint retry_idle_notice(Plane *p, Relay *r) noexcept nogil
