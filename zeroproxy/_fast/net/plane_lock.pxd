from zeroproxy._fast.types.lock cimport PlaneLock

cdef int plane_lock_init(PlaneLock *t) noexcept nogil
cdef void plane_lock_close(PlaneLock *t) noexcept nogil
cdef void acquire_plane(PlaneLock *t) noexcept nogil
cdef void release_plane(PlaneLock *t) noexcept nogil
cdef void reacquire_plane(PlaneLock *t) noexcept nogil
cdef bint plane_is_wanted(const PlaneLock *t) noexcept nogil
