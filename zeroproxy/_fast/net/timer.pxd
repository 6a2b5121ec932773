from libc.stdint cimport uint64_t

from zeroproxy._fast.types.plane cimport Plane
from zeroproxy._fast.types.reactor cimport OnDue, Timer, Wheel

# Make the timerfd. 0, or -1 with errno set.
cdef int wheel_init(Wheel *w, uint64_t now_ns) noexcept nogil
# Close the timerfd. Timers are their owners'.
cdef void wheel_close(Wheel *w) noexcept nogil
# Fire all that is due by plane.now_ns. A callback may arm and disarm any timer.
cdef void wheel_run(Wheel *w, Plane *plane) noexcept nogil
# Set the timerfd to the next occupied tick, if that is earlier.
cdef void wheel_sync(Wheel *w) noexcept nogil
# Prepare a timer of `owner`; it is not armed.
cdef void timer_init(Timer *t, OnDue on_due, void *owner) noexcept nogil
# Set or move a timer. A moment in the past fires with the next tick.
cdef void timer_arm(Wheel *w, Timer *t, uint64_t due_ns) noexcept nogil
# Take a timer back. Twice is harmless.
cdef void timer_disarm(Wheel *w, Timer *t) noexcept nogil


# Arm, or move to `due_ns` if that is earlier.
cdef inline void timer_no_later(Wheel *w, Timer *t, uint64_t due_ns) noexcept nogil:
    # Deadlines mostly move away. An armed timer that is due earlier is left alone: when it fires,
    # its owner looks at the real deadline and arms it again. Hence no list work per read.
    if due_ns and (t.due_ns == 0 or due_ns < t.due_ns):
        timer_arm(w, t, due_ns)
