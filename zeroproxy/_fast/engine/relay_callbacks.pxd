from zeroproxy._fast.types.plane cimport Plane, Relay

# Set the plane's function pointers. Once, before the first conn.
cdef void relay_install(Plane *p) noexcept nogil
# Do everything that can be done for a relay now. May close it.
cdef void run_relay(Plane *p, Relay *r) noexcept nogil
# Serve each relay on the run list once. 1: more were added meanwhile.
cdef bint run_later(Plane *p) noexcept nogil
# Let every response close its conn; conns and requests are taken on.
cdef void relay_begin_settle(Plane *p) noexcept nogil
# Let every exchange be its conn's last, and close idle conns. `spares_idle`: those that have served
# a request get the time of those without one.
cdef void relay_begin_drain(Plane *p, bint spares_idle) noexcept nogil
# End all exchanges and close all downstream conns.
cdef void relay_close_all(Plane *p) noexcept nogil
