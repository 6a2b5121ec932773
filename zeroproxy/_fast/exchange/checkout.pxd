from zeroproxy._fast.types.plane cimport Endpoint, Plane, Relay

cdef Endpoint *room_for(Plane *p, Relay *r) noexcept nogil
cdef void room_take(Plane *p, Relay *r) noexcept nogil
cdef bint room_is_ours_to_blame() noexcept nogil
