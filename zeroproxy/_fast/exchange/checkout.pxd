from zeroproxy._fast.types.plane cimport Endpoint, Plane, Relay

# Choose the endpoint of the next attempt; borrowed. NULL: `r` waits (r.x.waits_conn), or the blame
# is noted.
cdef Endpoint *checkout_endpoint(Plane *p, Relay *r) noexcept nogil
# Borrow an idle conn or open one: r.attempt.conn, which may still connect; NULL: errno has why.
cdef void checkout_conn(Plane *p, Relay *r) noexcept nogil
# Return 1 if errno is a lack of descriptors or memory: no other endpoint would help.
cdef bint failed_for_lack_of_fds() noexcept nogil
