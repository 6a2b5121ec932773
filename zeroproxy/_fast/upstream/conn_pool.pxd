from zeroproxy._fast.types.plane cimport Conn, ConnList, Endpoint, Plane


# ---- checkout and release

# Borrow the most recently used idle conn that is quiet and not too old; NULL: none.
cdef Conn *acquire_idle_conn(Plane *p, Endpoint *e) noexcept nogil
# Begin to connect and borrow the conn; c.connecting: under way. NULL: failed, errno is set.
cdef Conn *endpoint_connect(Plane *p, Endpoint *e) noexcept nogil
# Return a clean conn to the pool, or close it if there is no place or it is spent.
cdef void release_idle_conn(Plane *p, Conn *c) noexcept nogil
# Close a conn that is not in the idle list and return its struct.
cdef void release_conn(Plane *p, Conn *c) noexcept nogil

# ---- lists of conns

# Put a conn in front of the list.
cdef void conn_list_push(ConnList *l, Conn *c) noexcept nogil
# Take a conn out of its list, from any place.
cdef void conn_list_remove(ConnList *l, Conn *c) noexcept nogil

# ---- the pool

# Count why a conn ends, and discard it; it is not in the idle list.
cdef void endpoint_retire(Plane *p, Conn *c, int why) noexcept nogil
# Close an idle conn that the endpoint has closed or sent bytes on, and learn from its age.
cdef void endpoint_lose_idle(Plane *p, Conn *c) noexcept nogil
# A conn may be opened that no exchange waits for.
cdef bint endpoint_may_connect(const Plane *p, const Endpoint *e) noexcept nogil
# Forget what was learned: another server may come up at this address.
cdef void endpoint_forget(Endpoint *e) noexcept nogil
# Look with the next tick whether the pool lacks a warm conn.
cdef void endpoint_want_warm(Plane *p, Endpoint *e) noexcept nogil
# Close all idle conns.
cdef void endpoint_drop_idle(Plane *p, Endpoint *e) noexcept nogil
# Close the oldest idle conn, to make room for a new one.
cdef void endpoint_drop_oldest(Plane *p, Endpoint *e) noexcept nogil
