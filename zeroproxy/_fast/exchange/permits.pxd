from zeroproxy._fast.types.plane cimport Plane, Relay, Upstream

# Give `r` a permit or a place in the queue: IN_PERMIT, NOTHING, or IN_REFUSED with the blame noted.
cdef int admit(Plane *p, Relay *r) noexcept nogil
# Give free permits to relays in the queue; they go on from the run list.
cdef void admit_waiting(Plane *p, Upstream *u) noexcept nogil
# Refuse an exchange for which its key has no place: IN_REFUSED, with the blame noted.
cdef int refuse_place(Relay *r) noexcept nogil
# Remove `r` from the queue that it is in, that of its upstream or of its key.
cdef void leave_queue(Relay *r) noexcept nogil
# Release the permit, if `r` holds one, to the next in the queue.
cdef void release_permit(Plane *p, Relay *r) noexcept nogil
# Release the place of its key, if `r` holds one, to the next that waits for it.
cdef void pass_place_on(Plane *p, Relay *r) noexcept nogil


cdef enum:
    NOTHING = -1            # no input: the exchange waits for a report
