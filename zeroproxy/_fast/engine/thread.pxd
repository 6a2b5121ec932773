from zeroproxy._fast.types.plane cimport Plane


cdef class PlaneThread:
    cdef Plane *p           # owned
    cdef object lock        # a threading.RLock, between Python's threads
    cdef int depth          # of contexts
    cdef object thread      # the driver; None: on_ready drives the plane
    cdef bint is_open
    cdef void enter_plane(self) noexcept nogil
    cdef void leave_plane(self) noexcept nogil
    cdef int halt(self) except -1
    cdef bint work_by_hand(self) except -1
