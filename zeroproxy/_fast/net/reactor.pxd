from libc.stdint cimport int64_t, uint32_t

from zeroproxy._fast.net.syscalls cimport epoll_event
from zeroproxy._fast.types.plane cimport Plane
from zeroproxy._fast.types.reactor cimport OnReady, Reactor

cdef enum:
    BATCH = 256             # reports per system call; 3 KiB of stack

cdef int reactor_init(Reactor *r) noexcept nogil
cdef void reactor_close(Reactor *r) noexcept nogil
cdef int64_t reactor_add(
    Reactor *r, int fd, uint32_t events, OnReady on_ready, void *owner
) noexcept nogil
cdef void reactor_remove(Reactor *r, uint32_t slot) noexcept nogil
cdef int reactor_wait(Reactor *r, epoll_event *events, int wait_ms) noexcept nogil
cdef void reactor_dispatch(
    Reactor *r, Plane *plane, const epoll_event *events, int n
) noexcept nogil
