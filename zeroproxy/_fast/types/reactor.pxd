# The reactor and the timer wheel. No code; the laws of http.pxd hold here too.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

ctypedef void (*OnReady)(void *plane, void *owner, uint32_t events) noexcept nogil
ctypedef void (*OnGroup)(void *plane) noexcept nogil
ctypedef void (*OnSoon)(void *plane, void *owner) noexcept nogil
ctypedef void (*OnDue)(void *plane, void *owner) noexcept nogil


cdef struct Watch:          # one slot of the reactor
    int fd                  # -1: free
    uint32_t generation     # bumped whenever the slot is released
    OnReady on_ready
    void *owner             # borrowed; the owner forgets its slot before it dies
    uint32_t next_free


cdef struct Reactor:
    int epoll_fd            # owned
    uint32_t n_slots
    uint32_t n_used
    uint32_t free_head      # index, or n_slots: none
    uint64_t stale          # reports for a slot that was released meanwhile: harmless, counted
    Watch *slots            # owned


cdef struct Timer:          # intrusive; embedded in its owner
    Timer *prev
    Timer *next
    uint64_t due_ns         # 0: not armed
    uint32_t bucket
    OnDue on_due
    void *owner             # borrowed, the struct it is embedded in


cdef enum:
    WHEEL_SHIFT = 24        # one tick = 2**24 ns = 16.8 ms
    WHEEL_SIZE = 4096       # one round = 68.7 s; longer timers stay for another round
    WHEEL_MAP_SIZE = 64     # WHEEL_SIZE / 64


cdef struct Wheel:
    Timer buckets[WHEEL_SIZE]   # list heads
    uint64_t occupied[WHEEL_MAP_SIZE]   # bit per non-empty bucket
    uint64_t now_tick       # everything up to this tick has been run
    uint64_t armed_tick     # time of the timerfd; 0: off
    uint64_t soonest        # the earliest tick armed since then; UINT64_MAX: none was
    uint32_t n_armed
    int timer_fd            # owned


cdef enum:
    SEND_BATCH_BYTES = 32768
    SEND_BATCH_MAX = 32


cdef struct DeferredSend:   # a send that leaves at the end of the group of reports
    void *conn              # borrowed, a Conn; NULL: called off
    uint64_t *overhead      # borrowed; the time until then is added to it; NULL: not wanted
    uint32_t at             # in SendBatch.bytes
    uint32_t n


cdef struct SendBatch:
    uint8_t accepts         # reports are being dispatched
    uint32_t n
    uint32_t end            # of the used part of `bytes`
    char *bytes             # owned; SEND_BATCH_BYTES
    DeferredSend sends[SEND_BATCH_MAX]
