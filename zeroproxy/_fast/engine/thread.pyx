"""The driver of a plane: a thread of its own, or a caller of `run_once`.

Law 1. The thread holds the plane lock while it works and never while it sleeps. It takes no GIL
       before it ends: outside the Engine API, Python cannot delay bytes.
Law 2. An API call holds the plane lock as long as it takes; `exclusive` joins several into one.
Law 3. An API call that leaves work behind wakes the thread.
Law 4. An API call that only reads copies structs without the GIL, and makes Python values of them
       after it has released the lock. One that copies much takes the lock for each slice.
Law 5. A notification makes `notify_fd` readable, once until on_ready has reported it.
Tests: tests/relay/test_thread.py.
"""

import threading

from libc.signal cimport SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from posix.signal cimport sigdelset, sigfillset, sigset_t

from zeroproxy._fast.engine.listeners cimport accept_pending
from zeroproxy._fast.engine.relay_callbacks cimport run_later
from zeroproxy._fast.net.plane_lock cimport (
    acquire_plane,
    plane_lock_close,
    plane_lock_init,
    reacquire_plane,
    release_plane,
)
from zeroproxy._fast.net.reactor cimport (
    BATCH,
    reactor_add,
    reactor_dispatch,
    reactor_remove,
    reactor_wait,
)
from zeroproxy._fast.net.syscalls cimport (
    EFD_CLOEXEC,
    EFD_NONBLOCK,
    EPOLLET,
    EPOLLIN,
    close,
    epoll_event,
    eventfd,
    eventfd_read,
    eventfd_t,
    eventfd_write,
)
from zeroproxy._fast.net.timer cimport wheel_sync
from zeroproxy._fast.types.clock cimport clock_monotonic_ns
from zeroproxy._fast.types.plane cimport Plane
from zeroproxy._fast.types.plane_thread cimport Driver

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_t:
        pass
    pthread_t pthread_self()
    int pthread_setname_np(pthread_t thread, const char *name)

cdef extern from "atomics.h" nogil:
    uint64_t load_acquire "zp_load_acquire"(const uint64_t *at) noexcept
    void store_release "zp_store_release"(uint64_t *at, uint64_t value) noexcept

cdef extern from "<signal.h>" nogil:
    enum:
        SIG_BLOCK
    int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)

MORE, BREAKER_CHANGED, QUESTIONS = 1, 2, 4     # on_ready

cdef enum:
    # Of run_once: enough for a burst, few enough that the caller's own work is not delayed long.
    ROUNDS = 8


cdef void driver_close(Plane *p) noexcept nogil:
    """Close the driver's descriptors; the thread has ended, or could not be started."""
    cdef Driver *d = &p.driver
    if d.is_on:
        reactor_remove(&p.reactor, d.slot)
    if d.kick_fd >= 0:
        close(d.kick_fd)
    if d.notify_fd >= 0:
        close(d.notify_fd)
    d.kick_fd = d.notify_fd = -1
    d.is_on = d.stops = d.is_notified = 0


cdef void on_kick(void *plane, void *owner, uint32_t events) noexcept nogil:
    # Edge-triggered: each write is a report, and no read is needed.
    cdef Driver *d = &(<Plane *>plane).driver
    store_release(&d.n_beats, d.n_beats + 1)


cdef int driver_open(Plane *p) noexcept nogil:
    """Open the thread's descriptors. -1: there are no more descriptors, and none was opened."""
    cdef Driver *d = &p.driver
    cdef int64_t slot = -1
    d.kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
    d.notify_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
    if d.kick_fd >= 0 and d.notify_fd >= 0:
        slot = reactor_add(&p.reactor, d.kick_fd, EPOLLIN | EPOLLET, on_kick, NULL)
    if slot < 0:
        driver_close(p)
        return -1
    d.slot = <uint32_t>slot
    d.is_on = 1
    return 0


cdef bint work(Plane *p, const epoll_event *events, int n) noexcept nogil:
    """Serve `n` reports and all that follows. 1: there is more, although nothing will report it."""
    cdef bint more
    reactor_dispatch(&p.reactor, p, events, n)
    more = accept_pending(p) | run_later(p)
    wheel_sync(&p.wheel)
    return more


cdef void notify(Driver *d) noexcept nogil:
    if not d.is_notified:
        d.is_notified = 1
        eventfd_write(d.notify_fd, 1)


cdef void run(Plane *p) noexcept nogil:
    """Work until `stops` is set: the body of the thread."""
    cdef epoll_event[BATCH] events
    cdef sigset_t others
    cdef bint more = 0
    cdef int n
    # Signals are the main thread's; only those of a crash of this thread are not.
    sigfillset(&others)
    sigdelset(&others, SIGSEGV)
    sigdelset(&others, SIGBUS)
    sigdelset(&others, SIGILL)
    sigdelset(&others, SIGFPE)
    sigdelset(&others, SIGABRT)
    pthread_sigmask(SIG_BLOCK, &others, NULL)
    pthread_setname_np(pthread_self(), "zeroproxy-plane")
    while True:
        n = reactor_wait(&p.reactor, events, 0 if more else -1)
        reacquire_plane(&p.driver.lock)
        if p.driver.stops:
            break
        more = work(p, events, n)
        if p.breaker_changed or p.has_questions:
            notify(&p.driver)
        release_plane(&p.driver.lock)
    release_plane(&p.driver.lock)


cdef bint run_once(Plane *p) noexcept nogil:
    """Serve everything that is ready now. 1: there is more, call again soon."""
    cdef epoll_event[BATCH] events
    cdef int rounds = 0, n = BATCH
    cdef bint more = 0
    while rounds < ROUNDS and (n >= 64 or more):
        rounds += 1
        n = reactor_wait(&p.reactor, events, 0)
        more = work(p, events, n)
    return more


# ---------------------------------------------------------------- API


cdef class PlaneThread:
    """A plane and its driver. As a context it holds the plane lock; contexts nest. Any Python
    thread may use it."""

    def __cinit__(self):
        self.lock = threading.RLock()
        self.p = <Plane *>calloc(1, sizeof(Plane))
        if self.p == NULL or plane_lock_init(&self.p.driver.lock) < 0:
            raise MemoryError
        self.p.driver.kick_fd = self.p.driver.notify_fd = -1
        self.p.reactor.epoll_fd = self.p.wheel.timer_fd = -1

    def __dealloc__(self):
        if self.p != NULL:
            plane_lock_close(&self.p.driver.lock)
        free(self.p)

    def __enter__(self):
        # `lock` is between Python's threads, and waits without the GIL. Its holder waits for the
        # driver alone, which releases the plane lock without the GIL.
        self.lock.acquire()
        self.enter_plane()

    def __exit__(self, *_):
        self.leave_plane()
        self.lock.release()

    cdef void enter_plane(self) noexcept nogil:
        """Acquire the plane lock. The caller holds `lock`, and runs without the GIL until
        `leave_plane`, so that other Python code cannot delay the plane."""
        if self.depth == 0:
            acquire_plane(&self.p.driver.lock)
            self.p.now_ns = clock_monotonic_ns()
        self.depth += 1

    cdef void leave_plane(self) noexcept nogil:
        cdef Plane *p = self.p
        self.depth -= 1
        if self.depth == 0:
            wheel_sync(&p.wheel)
            if p.driver.is_on and (p.driver.stops or p.run_head != NULL):
                eventfd_write(p.driver.kick_fd, 1)
            if p.driver.is_on and (p.breaker_changed or p.has_questions):
                notify(&p.driver)
            release_plane(&p.driver.lock)

    @property
    def exclusive(self):
        """A context: the plane does nothing between the API calls inside."""
        return self

    def start(self):
        """Work in a thread of its own until `close`. Raises OSError (out of descriptors) or
        RuntimeError (no thread can be had); it may be tried again."""
        with self:
            if not self.is_open or self.thread is not None:
                raise RuntimeError("an Engine is started once, before it is closed")
            if driver_open(self.p) < 0:
                raise OSError("cannot make an eventfd: out of descriptors")
        thread = threading.Thread(target=self.run, name="zeroproxy-plane", daemon=True)
        try:
            thread.start()
        except BaseException:
            with self:
                driver_close(self.p)
            raise
        self.thread = thread

    def run(self):
        """The body of the thread, for `start` alone."""
        with nogil:
            run(self.p)

    cdef int halt(self) except -1:
        """Wait until the thread has ended, if there is one."""
        if self.thread is None:
            return 0
        with self:
            self.p.driver.stops = 1
        self.thread.join()
        with self:
            driver_close(self.p)
        self.thread = None
        return 0

    def beat(self):
        """The number of times that the thread was woken on request, and asks for one more. -1:
        there is no thread. Without the lock, which a thread that hangs may hold."""
        cdef Driver *d = &self.p.driver
        if not d.is_on:
            return -1
        eventfd_write(d.kick_fd, 1)
        return load_acquire(&d.n_beats)

    def notify_fileno(self):
        """The descriptor, once started, that is readable when on_ready will return
        BREAKER_CHANGED or QUESTIONS."""
        return self.p.driver.notify_fd

    def fileno(self):
        """The descriptor, unless started, that is readable when there is work for on_ready."""
        return self.p.reactor.epoll_fd

    def on_ready(self):
        """Report flags. BREAKER_CHANGED: a breaker has moved since the last call that reported it.
        QUESTIONS: there are new ones (Engine.questions). MORE, unless started: there is more work,
        call again soon."""
        cdef Plane *p = self.p
        cdef eventfd_t times
        cdef bint more = 0
        cdef int changed = 0
        with self:
            more = self.work_by_hand()
            changed = BREAKER_CHANGED if p.breaker_changed else 0
            changed |= QUESTIONS if p.has_questions else 0
            p.breaker_changed = p.has_questions = 0
            if p.driver.is_notified:
                p.driver.is_notified = 0
                eventfd_read(p.driver.notify_fd, &times)
        return changed | MORE if more else changed

    cdef bint work_by_hand(self) except -1:
        """Serve everything that is ready, unless a thread does. 1: there is more."""
        with self:
            return self.is_open and not self.p.driver.is_on and run_once(self.p)
