from zeroproxy._fast.types.plane cimport Plane, Relay, Upstream

# the two attempts of an exchange
cdef void swap_attempts(Relay *r) noexcept nogil
cdef void drop_hedge(Plane *p, Relay *r) noexcept nogil
cdef void release_attempt(Plane *p, Relay *r) noexcept nogil

# the line for a conn
cdef void wait_for_conn(Plane *p, Relay *r) noexcept nogil
cdef void stop_waiting(Plane *p, Relay *r) noexcept nogil
cdef void wake_waiting(Plane *p, Upstream *u) noexcept nogil
