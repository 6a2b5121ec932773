"""The plane lock, held by the plane's thread (its driver) or by one of the Engine's methods.

Law 1. Every access to a plane holds its lock. Two go without it: the ring's consumer, and counters
       that only grow (usage/stats.pyx).
Law 2. A method that waits goes first. A mutex alone is not fair: a thread with work to do would
       acquire it again before the method has woken up.
Law 3. The plane's thread never waits for the interpreter, so a method may keep the GIL while it
       waits.
Tests: tests/relay/test_thread.py.
"""

from libc.stdint cimport uint32_t

from zeroproxy._fast.types.plane_thread cimport PlaneLock, pthread_mutex_t


cdef extern from "<pthread.h>" nogil:
    int pthread_mutex_init(pthread_mutex_t *mutex, const void *attr)
    int pthread_mutex_destroy(pthread_mutex_t *mutex)
    int pthread_mutex_lock(pthread_mutex_t *mutex)
    int pthread_mutex_unlock(pthread_mutex_t *mutex)

cdef extern from "atomics.h" nogil:
    uint32_t load_relaxed "zp_load_relaxed"(const uint32_t *at) noexcept
    void add_relaxed "zp_add_relaxed"(uint32_t *at, uint32_t n) noexcept


cdef int plane_lock_init(PlaneLock *t) noexcept nogil:
    """Prepare the lock. 0, or -1."""
    t.n_waiting = 0
    if pthread_mutex_init(&t.mutex, NULL):
        return -1
    if pthread_mutex_init(&t.entrance, NULL):
        pthread_mutex_destroy(&t.mutex)
        return -1
    return 0


cdef void plane_lock_close(PlaneLock *t) noexcept nogil:
    pthread_mutex_destroy(&t.mutex)
    pthread_mutex_destroy(&t.entrance)


cdef void acquire_plane(PlaneLock *t) noexcept nogil:
    """Acquire for an Engine method: waits at most for the group of reports under way."""
    add_relaxed(&t.n_waiting, 1)
    pthread_mutex_lock(&t.entrance)
    pthread_mutex_lock(&t.mutex)
    pthread_mutex_unlock(&t.entrance)
    add_relaxed(&t.n_waiting, <uint32_t>-1)


cdef void release_plane(PlaneLock *t) noexcept nogil:
    pthread_mutex_unlock(&t.mutex)


cdef void reacquire_plane(PlaneLock *t) noexcept nogil:
    """Acquire for the plane's thread: behind the methods that wait."""
    if plane_is_wanted(t):
        pthread_mutex_lock(&t.entrance)
        pthread_mutex_unlock(&t.entrance)
    pthread_mutex_lock(&t.mutex)


cdef bint plane_is_wanted(const PlaneLock *t) noexcept nogil:
    """True if a method waits. May be a moment old."""
    return load_relaxed(&t.n_waiting) != 0
