from zeroproxy._fast.types.plane cimport Plane

cdef bint accept_pending(Plane *p) noexcept nogil
cdef void accept_rest(Plane *p) noexcept nogil
cdef int listen_on(Plane *p, int fd, bint is_unix) except -1
cdef void stop_listening(Plane *p) noexcept nogil
