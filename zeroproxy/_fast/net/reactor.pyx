"""The plane's epoll set. Every descriptor is registered once, edge-triggered.

Note 1. epoll data = generation << 32 | slot. A report whose generation is not the slot's is for a
        conn that was closed earlier in the same batch: dropped and counted (HAProxy's cure).
Note 2. Reports are dispatched in groups, those of one function together: each finds its code in the
        cache. Upstream goes first: exchanges that end make room for those that begin.
Note 3. The reactor knows descriptors, functions and opaque owners; of the plane its hooks and lock.
Note 4. While one owner is served, the memory of the next two is on its way. To wait for it was a
        third of our own time in a burst of events.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc

from zeroproxy._fast.memory.prefetch cimport prefetch
from zeroproxy._fast.net.plane_lock cimport plane_is_wanted, reacquire_plane, release_plane
from zeroproxy._fast.net.reactor cimport BATCH
from zeroproxy._fast.net.syscalls cimport (
    EINTR,
    EPOLL_CLOEXEC,
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    close,
    epoll_create1,
    epoll_ctl,
    epoll_event,
    epoll_wait,
    errno,
)
from zeroproxy._fast.types.clock cimport clock_monotonic_ns
from zeroproxy._fast.types.invariant cimport ZP_DEBUG, invariant
from zeroproxy._fast.types.plane cimport Plane
from zeroproxy._fast.types.reactor cimport OnReady, Reactor, Watch

cdef extern from "fatal.h" nogil:
    void fatal "zp_fatal"(const char *what, int error) noexcept

cdef enum:
    # Reports to a group. Enough that the cache is filled once for many, and few enough that the
    # bytes of the first leave soon.
    GROUP = 32


cdef int reactor_init(Reactor *r) noexcept nogil:
    """Make the epoll set. 0, or -1 with errno set."""
    r.slots = NULL
    r.n_slots = r.n_used = r.free_head = 0
    r.stale = 0
    r.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
    return 0 if r.epoll_fd >= 0 else -1


cdef void reactor_close(Reactor *r) noexcept nogil:
    if r.epoll_fd >= 0:
        close(r.epoll_fd)
    r.epoll_fd = -1
    free(r.slots)
    r.slots = NULL
    r.n_slots = r.n_used = r.free_head = 0


cdef bint grow(Reactor *r) noexcept nogil:
    cdef uint32_t n = r.n_slots * 2 if r.n_slots else 64
    cdef uint32_t i
    cdef Watch *slots = <Watch *>realloc(r.slots, n * sizeof(Watch))
    if slots == NULL:
        return 0
    for i in range(r.n_slots, n):
        slots[i].fd = -1
        slots[i].generation = 1
        slots[i].next_free = i + 1
    r.slots = slots
    r.free_head = r.n_slots
    r.n_slots = n
    return 1


cdef int64_t reactor_add(
    Reactor *r, int fd, uint32_t events, OnReady on_ready, void *owner
) noexcept nogil:
    """Watch `fd`; returns its slot, or -1 with errno set."""
    cdef epoll_event ev
    cdef uint32_t slot
    cdef Watch *w
    if r.free_head >= r.n_slots and not grow(r):
        return -1
    slot = r.free_head
    w = &r.slots[slot]
    ev.events = events
    ev.data.u64 = <uint64_t>w.generation << 32 | slot
    if epoll_ctl(r.epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0:
        return -1
    r.free_head = w.next_free
    r.n_used += 1
    w.fd = fd
    w.on_ready = on_ready
    w.owner = owner
    return slot


cdef void reactor_redirect(Reactor *r, uint32_t slot, OnReady on_ready) noexcept nogil:
    r.slots[slot].on_ready = on_ready


cdef void reactor_remove(Reactor *r, uint32_t slot) noexcept nogil:
    """Forget a slot; call it before the descriptor is closed or handed away."""
    cdef Watch *w = &r.slots[slot]
    invariant(w.fd >= 0)
    epoll_ctl(r.epoll_fd, EPOLL_CTL_DEL, w.fd, NULL)
    w.fd = -1
    w.owner = NULL
    w.generation += 1
    w.next_free = r.free_head
    r.free_head = slot
    r.n_used -= 1


cdef inline void announce(Plane *p, const Watch *w) noexcept nogil:
    """Announce an owner that is served next; it is read here, so it must still be one."""
    if w.owner != NULL and (w.on_ready == p.on_upstream or w.on_ready == p.on_downstream):
        p.on_soon(p, w.owner)


cdef inline void serve(Reactor *r, Plane *p, const epoll_event *report) noexcept nogil:
    cdef Watch *w = &r.slots[<uint32_t>report.data.u64]
    if w.generation != <uint32_t>(report.data.u64 >> 32):
        r.stale += 1
    else:
        w.on_ready(p, w.owner, report.events)


cdef void dispatch_group(Reactor *r, Plane *p, const epoll_event *events, int n) noexcept nogil:
    """Serve the owners of at most GROUP reports; then their deferred sends leave."""
    cdef uint8_t[GROUP] order
    cdef int i, last = 0
    cdef bint is_upstream
    for is_upstream in range(1, -1, -1):
        for i in range(n):
            if (r.slots[<uint32_t>events[i].data.u64].on_ready == p.on_upstream) == is_upstream:
                order[last] = <uint8_t>i
                last += 1
    for i in range(-2, n):
        if i + 2 < n:
            prefetch(r.slots[<uint32_t>events[order[i + 2]].data.u64].owner, 1)
        if 0 <= i + 1 < n:
            announce(p, &r.slots[<uint32_t>events[order[i + 1]].data.u64])
        if i >= 0:
            serve(r, p, &events[order[i]])
    p.on_group_end(p)


cdef int reactor_wait(Reactor *r, epoll_event *events, int wait_ms) noexcept nogil:
    """Wait for reports, BATCH at most; returns their number. -1 ms: until there is one. Needs no
    lock: a change of the set meanwhile makes reports stale. If the kernel refuses to report, the
    process ends: descriptors were closed by others, and no exchange can be served."""
    cdef int n = epoll_wait(r.epoll_fd, events, BATCH, wait_ms)
    if n < 0:
        if errno != EINTR:
            fatal(b"the data plane cannot wait for its connections", errno)
        return 0
    return n


cdef void reactor_dispatch(
    Reactor *r, Plane *plane, const epoll_event *events, int n
) noexcept nogil:
    """Serve the owners of `n` reports; waiting Engine methods go between two groups."""
    cdef int first = 0
    plane.now_ns = clock_monotonic_ns()
    while first < n:
        # A lone report shares the cache with no other. Checked builds always defer.
        plane.send_batch.accepts = n > 1 or ZP_DEBUG
        dispatch_group(r, plane, &events[first], min(n - first, <int>GROUP))
        plane.send_batch.accepts = 0
        first += GROUP
        if first < n and plane_is_wanted(&plane.driver.lock):
            release_plane(&plane.driver.lock)
            reacquire_plane(&plane.driver.lock)
            plane.now_ns = clock_monotonic_ns()
