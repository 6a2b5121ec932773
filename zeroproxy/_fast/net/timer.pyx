"""One hashed wheel for all deadlines, woken by one timerfd inside the reactor's epoll set.

Law 1. A timer never fires early; it fires at most two ticks (34 ms) late, plus the group under way.
Law 2. While no timer is armed the timerfd is off: idle costs no wake-up.
Law 3. Arming and disarming are O(1); a timer beyond one round (68.7 s) is looked at once a round.

The timerfd is moved only when a timer becomes due earlier than its time. A wake-up without a due
timer costs less than a system call per request would.
Tests: tests/unit/test_core.py.
"""

from libc.stdint cimport UINT64_MAX, uint32_t, uint64_t

from zeroproxy._fast.net.syscalls cimport (
    TFD_CLOEXEC,
    TFD_NONBLOCK,
    TFD_TIMER_ABSTIME,
    close,
    itimerspec,
    timerfd_create,
    timerfd_settime,
)
from zeroproxy._fast.types.clock cimport NS_PER_S
from zeroproxy._fast.types.invariant cimport invariant
from zeroproxy._fast.types.plane cimport Plane
from zeroproxy._fast.types.reactor cimport (
    WHEEL_MAP_SIZE,
    WHEEL_SHIFT,
    WHEEL_SIZE,
    OnDue,
    Timer,
    Wheel,
)
from posix.time cimport CLOCK_MONOTONIC


cdef extern from *:
    int ctz64 "__builtin_ctzll"(unsigned long long x) noexcept nogil


cdef int wheel_init(Wheel *w, uint64_t now_ns) noexcept nogil:
    """Make the timerfd. 0, or -1 with errno set."""
    cdef uint32_t i
    for i in range(WHEEL_SIZE):
        w.buckets[i].next = w.buckets[i].prev = &w.buckets[i]
    for i in range(WHEEL_MAP_SIZE):
        w.occupied[i] = 0
    w.now_tick = now_ns >> WHEEL_SHIFT
    w.armed_tick = 0
    w.soonest = UINT64_MAX
    w.n_armed = 0
    w.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
    return 0 if w.timer_fd >= 0 else -1


cdef void wheel_close(Wheel *w) noexcept nogil:
    if w.timer_fd >= 0:
        close(w.timer_fd)
    w.timer_fd = -1


cdef void timer_init(Timer *t, OnDue on_due, void *owner) noexcept nogil:
    t.prev = t.next = NULL
    t.due_ns = 0
    t.on_due = on_due
    t.owner = owner


cdef void unlink_timer(Wheel *w, Timer *t) noexcept nogil:
    cdef Timer *head = &w.buckets[t.bucket]
    t.prev.next = t.next
    t.next.prev = t.prev
    t.prev = t.next = NULL
    if head.next == head:
        w.occupied[t.bucket >> 6] &= ~(<uint64_t>1 << (t.bucket & 63))


cdef void timer_arm(Wheel *w, Timer *t, uint64_t due_ns) noexcept nogil:
    """Set or move a timer. A moment already past fires with the next tick."""
    cdef uint64_t tick = (due_ns >> WHEEL_SHIFT) + 1
    cdef Timer *head
    invariant(due_ns != 0)
    if t.due_ns:
        unlink_timer(w, t)
    else:
        w.n_armed += 1
    if tick <= w.now_tick:
        tick = w.now_tick + 1
    if tick < w.soonest:
        w.soonest = tick
    t.due_ns = due_ns
    t.bucket = <uint32_t>(tick & (WHEEL_SIZE - 1))
    head = &w.buckets[t.bucket]
    t.prev = head.prev
    t.next = head
    head.prev.next = t
    head.prev = t
    w.occupied[t.bucket >> 6] |= <uint64_t>1 << (t.bucket & 63)


cdef void timer_disarm(Wheel *w, Timer *t) noexcept nogil:
    if t.due_ns == 0:
        return
    unlink_timer(w, t)
    t.due_ns = 0
    w.n_armed -= 1


cdef void collect(Wheel *w, uint32_t bucket, uint64_t tick, Timer *due) noexcept nogil:
    """Move what is due in one bucket to the list `due`; the rest waits for another round."""
    cdef Timer *t = w.buckets[bucket].next
    cdef Timer *following
    while t != &w.buckets[bucket]:
        following = t.next
        if (t.due_ns >> WHEEL_SHIFT) < tick:
            unlink_timer(w, t)
            t.prev = due.prev
            t.next = due
            due.prev.next = t
            due.prev = t
        t = following


cdef void wheel_run(Wheel *w, Plane *plane) noexcept nogil:
    """Fire everything due by plane.now_ns. A timer that fires is disarmed first, and may be armed
    again, or disarm others, from within its callback."""
    cdef uint64_t tick = plane.now_ns >> WHEEL_SHIFT
    cdef uint64_t steps, k
    cdef uint32_t bucket
    cdef Timer due
    cdef Timer *t
    if tick <= w.now_tick:
        return
    due.prev = due.next = &due
    steps = tick - w.now_tick
    if steps > WHEEL_SIZE:
        steps = WHEEL_SIZE
    for k in range(steps):
        bucket = <uint32_t>((tick - k) & (WHEEL_SIZE - 1))
        if w.occupied[bucket >> 6] >> (bucket & 63) & 1:
            collect(w, bucket, tick, &due)
    w.now_tick = tick
    while due.next != &due:
        t = due.next
        timer_disarm(w, t)
        t.on_due(plane, t.owner)


cdef uint64_t next_tick(const Wheel *w) noexcept nogil:
    """The first tick after now whose bucket is occupied; 0: none."""
    cdef uint64_t start = w.now_tick + 1
    cdef uint32_t first = <uint32_t>(start & (WHEEL_SIZE - 1))
    cdef uint32_t word, i, bucket
    cdef uint64_t bits
    for i in range(WHEEL_MAP_SIZE + 1):
        word = (first // 64 + i) % WHEEL_MAP_SIZE
        bits = w.occupied[word]
        if i == 0:
            bits &= ~<uint64_t>0 << (first & 63)
        if bits:
            bucket = word * 64 + <uint32_t>ctz64(bits)
            return start + ((bucket - first) & (WHEEL_SIZE - 1))
    return 0


cdef void wheel_sync(Wheel *w) noexcept nogil:
    """Set the timerfd to the next occupied tick, if that is earlier than its time."""
    cdef itimerspec spec
    cdef uint64_t tick, ns
    # Timers in the wheel at the time when the timerfd was set are no earlier than that.
    if w.n_armed == 0 or (w.armed_tick > w.now_tick and w.armed_tick <= w.soonest):
        return
    tick = next_tick(w)
    w.soonest = UINT64_MAX
    if w.armed_tick > w.now_tick and w.armed_tick <= tick:
        return
    ns = tick << WHEEL_SHIFT
    spec.it_interval.tv_sec = 0
    spec.it_interval.tv_nsec = 0
    spec.it_value.tv_sec = <long>(ns // <uint64_t>NS_PER_S)
    spec.it_value.tv_nsec = <long>(ns % <uint64_t>NS_PER_S)
    timerfd_settime(w.timer_fd, TFD_TIMER_ABSTIME, &spec, NULL)
    w.armed_tick = tick
