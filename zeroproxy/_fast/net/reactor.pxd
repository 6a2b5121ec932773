from libc.stdint cimport int64_t, uint32_t

from zeroproxy._fast.net.syscalls cimport epoll_event
from zeroproxy._fast.types.plane cimport Plane
from zeroproxy._fast.types.reactor cimport OnReady, Reactor

cdef enum:
    BATCH = 256             # reports per system call; 3 KiB of stack

# Make the epoll set. 0, or -1 with errno set.
cdef int reactor_init(Reactor *r) noexcept nogil
# Close the set and free its slots.
cdef void reactor_close(Reactor *r) noexcept nogil
# Watch `fd`, which stays the caller's; returns its slot, or -1 with errno set.
cdef int64_t reactor_add(
    Reactor *r, int fd, uint32_t events, OnReady on_ready, void *owner
) noexcept nogil
# Report to another function from now on; the owner stays.
cdef void reactor_redirect(Reactor *r, uint32_t slot, OnReady on_ready) noexcept nogil
# Forget a slot; before the descriptor is closed or handed away.
cdef void reactor_remove(Reactor *r, uint32_t slot) noexcept nogil
# Wait for reports, BATCH at most; returns their number. -1 ms: until there is one. Needs no lock.
cdef int reactor_wait(Reactor *r, epoll_event *events, int wait_ms) noexcept nogil
# Call the owners of `n` reports; waiting Engine methods go between two groups.
cdef void reactor_dispatch(
    Reactor *r, Plane *plane, const epoll_event *events, int n
) noexcept nogil
