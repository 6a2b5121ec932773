from libc.stdint cimport int64_t, uint32_t

from zeroproxy._fast.plane cimport OnReady, Plane, Reactor

cdef int reactor_init(Reactor *r) noexcept nogil
cdef void reactor_close(Reactor *r) noexcept nogil
cdef int64_t reactor_add(
    Reactor *r, int fd, uint32_t events, OnReady on_ready, void *owner
) noexcept nogil
cdef void reactor_remove(Reactor *r, uint32_t slot) noexcept nogil
cdef int reactor_poll(Reactor *r, Plane *plane) noexcept nogil
