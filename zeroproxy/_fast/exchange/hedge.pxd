from zeroproxy._fast.types.plane cimport Conn, Plane, Relay

# Start a second attempt, if there is another endpoint and budget for it.
cdef void hedge(Plane *p, Relay *r) noexcept nogil
# Serve a report for a conn of two attempts without an answer. r.attempt is the winner then, if any.
cdef void hedge_ready(Plane *p, Relay *r, Conn *c) noexcept nogil
# End the other attempt, which has failed, and count that at its endpoint.
cdef void lose_hedge(Plane *p, Relay *r) noexcept nogil
# Go on with the other attempt alone, after the first has failed. 0: there is none to go on with.
cdef bint hedge_takes_over(Plane *p, Relay *r) noexcept nogil
