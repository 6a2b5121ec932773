from zeroproxy._fast.types.plane cimport Plane, Relay, Upstream

cdef int admit(Plane *p, Relay *r) noexcept nogil
cdef void admit_waiting(Plane *p, Upstream *u) noexcept nogil
cdef void leave_queue(Relay *r) noexcept nogil
cdef void release_permit(Plane *p, Relay *r) noexcept nogil


cdef enum:
    NOTHING = -1            # no input: the exchange waits for the world
