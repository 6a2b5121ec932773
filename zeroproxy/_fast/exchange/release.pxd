from zeroproxy._fast.types.plane cimport Plane, Relay, Upstream

cdef void write_record(Plane *p, Relay *r) noexcept nogil
cdef void swap_rival(Relay *r) noexcept nogil
cdef void drop_rival(Plane *p, Relay *r) noexcept nogil
cdef void release_attempt(Plane *p, Relay *r) noexcept nogil
cdef void release_all(Plane *p, Relay *r) noexcept nogil
cdef void wake_waiting(Plane *p, Upstream *u) noexcept nogil
cdef void wait_for_conn(Plane *p, Relay *r) noexcept nogil
cdef void stop_waiting(Plane *p, Relay *r) noexcept nogil
