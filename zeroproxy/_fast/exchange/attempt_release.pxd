from zeroproxy._fast.types.plane cimport Plane, Relay, Upstream

# ---------------------------------------------------------------- attempts

# Exchange `r.attempt` and `r.hedge`.
cdef void swap_attempts(Relay *r) noexcept nogil
# End `r.hedge` and release its conn, if there is one.
cdef void drop_hedge(Plane *p, Relay *r) noexcept nogil
# End both attempts: conns and counts at the endpoints. The permit stays.
cdef void release_attempt(Plane *p, Relay *r) noexcept nogil

# ---------------------------------------------------------------- waiting for a conn

# Append `r` to its upstream's fifo, once.
cdef void wait_for_conn(Plane *p, Relay *r) noexcept nogil
# Remove `r` from the fifo, if it is in it, and wake the next.
cdef void stop_waiting(Plane *p, Relay *r) noexcept nogil
# Put the first of the fifo on the run list.
cdef void wake_waiting(Plane *p, Upstream *u) noexcept nogil
