from zeroproxy._fast.types.plane_thread cimport PlaneLock

# Prepare the lock. 0, or -1.
cdef int plane_lock_init(PlaneLock *t) noexcept nogil
# Destroy the lock. Nobody holds it.
cdef void plane_lock_close(PlaneLock *t) noexcept nogil
# Acquire for an Engine method: waits at most for the group of reports under way.
cdef void acquire_plane(PlaneLock *t) noexcept nogil
# Release.
cdef void release_plane(PlaneLock *t) noexcept nogil
# Acquire for the plane's thread: behind the methods that wait.
cdef void reacquire_plane(PlaneLock *t) noexcept nogil
# A method waits. May be a moment old.
cdef bint plane_is_wanted(const PlaneLock *t) noexcept nogil
