from zeroproxy._fast.types.plane cimport Plane


cdef class PlaneThread:
    cdef Plane *p           # owned
    cdef object lock        # between Python's threads
    cdef int depth          # of contexts
    cdef object thread      # that drives the plane; None: it is driven by hand
    cdef bint is_open
    cdef void enter_plane(self) noexcept nogil
    cdef void leave_plane(self) noexcept nogil
    cdef int halt(self) except -1
    cdef bint work_by_hand(self) except -1
