from zeroproxy._fast.types.lock cimport Turn

cdef int turn_init(Turn *t) noexcept nogil
cdef void turn_close(Turn *t) noexcept nogil
cdef void turn_take(Turn *t) noexcept nogil
cdef void turn_give(Turn *t) noexcept nogil
cdef void turn_resume(Turn *t) noexcept nogil
cdef bint turn_is_wanted(const Turn *t) noexcept nogil
