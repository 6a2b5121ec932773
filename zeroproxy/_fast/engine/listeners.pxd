from zeroproxy._fast.types.plane cimport Plane

# Accept on listeners whose budget ran out. 1: there is more.
cdef bint accept_pending(Plane *p) noexcept nogil
# Accept all that wait, before listening ends.
cdef void accept_all_pending(Plane *p) noexcept nogil
# Watch a listening descriptor, borrowed; returns the listener's index. `allowed`: networks of
# callers, empty: all. `senders`: networks that may send the PROXY protocol; None: it is not taken.
cdef int listen_on(Plane *p, int fd, bint is_unix, allowed, senders) except -1
# Free them all.
cdef void listeners_free(Plane *p) noexcept nogil
# Forget all listeners; their descriptors stay open.
cdef void stop_listening(Plane *p) noexcept nogil
