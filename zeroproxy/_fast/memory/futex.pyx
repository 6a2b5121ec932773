"""A place for one thread to sleep, until any of many others wakes it.

Law 1. A wake is never lost: a thread that sleeps later returns at once. Wakes in between count as
       one.
Law 2. A thread that wakes another never waits, hence a futex and no mutex: the sleeper has a low
       priority.
Tests: tests/unit/test_core.py.
"""

from libc.stdint cimport uint32_t, uint64_t
from posix.time cimport timespec

from zeroproxy._fast.memory.futex cimport Futex
from zeroproxy._fast.types.clock cimport NS_PER_S, clock_monotonic_ns


cdef extern from "<linux/futex.h>" nogil:
    enum:
        FUTEX_WAIT_PRIVATE
        FUTEX_WAKE_PRIVATE

cdef extern from "<sys/syscall.h>" nogil:
    enum:
        SYS_futex

cdef extern from "<unistd.h>" nogil:
    long syscall(long number, ...)

cdef extern from "atomics.h" nogil:
    uint32_t swap_ordered "zp_swap_ordered"(uint32_t *at, uint32_t value) noexcept


cdef void futex_wake(Futex *b) noexcept nogil:
    if swap_ordered(&b.word, 1) == 0:
        syscall(SYS_futex, &b.word, FUTEX_WAKE_PRIVATE, 1)


cdef void futex_wait(Futex *b, uint64_t ns) noexcept nogil:
    """Sleep until it was woken since the last call, or `ns` (less than a century) are over."""
    cdef uint64_t due = clock_monotonic_ns() + ns, now
    cdef timespec left
    while swap_ordered(&b.word, 0) == 0:
        now = clock_monotonic_ns()
        if now >= due:
            break
        left.tv_sec = <long>((due - now) // NS_PER_S)
        left.tv_nsec = <long>((due - now) % NS_PER_S)
        # A span, by the monotonic clock. It returns at once after a wake meanwhile.
        syscall(SYS_futex, &b.word, FUTEX_WAIT_PRIVATE, 0, &left)
