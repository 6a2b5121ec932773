# The plane lock (net/plane_lock.pyx) and the thread that drives a plane (engine/thread.pyx). No
# code; the laws of http.pxd hold here too.

from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass


cdef struct PlaneLock:
    pthread_mutex_t mutex   # held by the party that touches the plane
    pthread_mutex_t entrance    # held by an Engine method while it waits; the driver is behind it
    uint32_t n_waiting      # Engine methods that wait; atomic


cdef struct Driver:         # of a plane that a thread drives
    PlaneLock lock
    uint8_t is_on           # 0: driven by hand, from Engine.on_ready
    uint8_t stops           # the thread is to end
    uint8_t is_notified     # notify_fd is readable
    uint64_t n_beats        # kicks that the thread has served
    uint32_t slot           # of kick_fd in the reactor
    int kick_fd             # owned; wakes the thread; -1: there is none
    int notify_fd           # owned; readable: Plane.breaker_changed; -1: there is none
