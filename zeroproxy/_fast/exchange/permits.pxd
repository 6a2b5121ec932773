from zeroproxy._fast.types.plane cimport Plane, Relay, Upstream

# Give `r` a permit or a place in the queue: IN_PERMIT, NOTHING, or IN_REFUSED with the blame noted.
cdef int admit(Plane *p, Relay *r) noexcept nogil
# Give free permits to relays in the queue; they go on from the run list.
cdef void admit_waiting(Plane *p, Upstream *u) noexcept nogil
# Refuse an exchange for which its key has no place: IN_REFUSED, with the blame noted.
cdef int refuse_place(Relay *r) noexcept nogil
# Remove `r` from the queue that it is in, that of its upstream or of its key.
cdef void leave_queue(Plane *p, Relay *r) noexcept nogil
# Put `r` into the queue, in the place of another if need be: NOTHING, or IN_REFUSED with the blame
# noted. `is_back`: it has been in it, and is the first of its tenant again.
cdef int enqueue(Plane *p, Relay *r, bint is_back) noexcept nogil
# Give `r`, which is in no queue, a permit.
cdef void acquire_permit(Plane *p, Relay *r) noexcept nogil
# Take the permit of `r`, as if it had never had one; the next in the queue does not get it yet.
cdef void take_permit_back(Plane *p, Relay *r) noexcept nogil
# Release the permit, if `r` holds one, to the next in the queue.
cdef void release_permit(Plane *p, Relay *r) noexcept nogil
# Release the place of its key, if `r` holds one, to the next that waits for it.
cdef void pass_place_on(Plane *p, Relay *r) noexcept nogil


cdef enum:
    NOTHING = -1            # no input: the exchange waits for a report
