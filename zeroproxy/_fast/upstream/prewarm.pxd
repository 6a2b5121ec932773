from zeroproxy._fast.types.plane cimport Conn, Endpoint, Plane

# Prepare the timer that warms an endpoint; it is not armed.
cdef void prewarm_init(Endpoint *e) noexcept nogil
# Warm an endpoint that is new in rotation, or whose pool has changed, as if it was used.
cdef void prewarm_begin(Plane *p, Endpoint *e) noexcept nogil
# Give up connects under way; idle conns stay.
cdef void prewarm_stop(Plane *p, Endpoint *e) noexcept nogil
# Serve a report on a conn without an owner: its connect has ended, or it has died.
cdef void unowned_ready(Plane *p, Conn *c) noexcept nogil
# Serve the timer of a conn without an owner.
cdef void unowned_due(Plane *p, Conn *c) noexcept nogil
