"""Python access, for tests and benchmarks only, to functions that Python never calls otherwise:
buffers, ring, wheel, exchange table, histogram, the law of retries."""

from libc.stdint cimport uint64_t
from libc.string cimport memset

from zeroproxy._fast.exchange.state_machine cimport RetryFacts, exchange_step, may_retry
from zeroproxy._fast.memory.buffer cimport (
    LINE,
    buffer_append,
    buffer_bytes,
    buffer_consume,
    buffer_len,
    buffer_reserve,
    pool_close,
    pool_init,
)
from zeroproxy._fast.memory.ring cimport (
    Ring,
    ring_await,
    ring_close,
    ring_init,
    ring_pop,
    ring_push,
    ring_wake,
)
from zeroproxy._fast.net.timer cimport (
    timer_arm,
    timer_disarm,
    timer_init,
    timer_no_later,
    wheel_close,
    wheel_init,
    wheel_run,
    wheel_sync,
)
from zeroproxy._fast.types.breaker cimport WINDOW_SLOTS, Breaker, BreakerSettings, BreakerTicket
from zeroproxy._fast.types.exchange_enums cimport (
    ACTION_COUNT,
    ACT_BUG,
    INPUT_COUNT,
    PHASE_COUNT,
    Input,
)
from zeroproxy._fast.types.histogram cimport Histogram
from zeroproxy._fast.types.memory cimport BlockPool, Buffer
from zeroproxy._fast.types.meter cimport Meter
from zeroproxy._fast.types.plane cimport Attempt, Conn, Endpoint, Exchange, Plane, Relay
from zeroproxy._fast.types.reactor cimport Timer, Wheel
from zeroproxy._fast.types.record cimport Record
from zeroproxy._fast.upstream.breaker cimport (
    BREAKER_INPUTS,
    BREAKER_STATES,
    RATE_ONE,
    BreakerInput,
    BreakerState,
    breaker_admits,
    breaker_begin,
    breaker_close_unproven,
    breaker_confirm,
    breaker_end,
    breaker_off,
    breaker_step,
)
from zeroproxy._fast.upstream.learned_keepalive cimport (
    keepalive_limit,
    keepalive_lower,
    keepalive_raise,
)
from zeroproxy._fast.usage.stats cimport BUCKETS, histogram_add, histogram_bound

from zeroproxy._fast.exchange.state_machine import MOVES
from zeroproxy._fast.upstream.breaker import MOVES as BREAKER_MOVES

N_PHASES = PHASE_COUNT
N_INPUTS = INPUT_COUNT
N_ACTIONS = ACTION_COUNT
BUG = ACT_BUG
SIZES = {"relay": sizeof(Relay), "conn": sizeof(Conn), "record": sizeof(Record)}


def hot_lines():
    """Cache lines that an event of a stream touches, counted from the beginning of each struct:
    (of a Conn, of a Relay beside its Conn)."""
    cdef Relay r
    cdef Conn *c = &r.down
    cdef Attempt *a = &r.attempt
    cdef Exchange *x = &r.x
    cdef Meter *m = &x.scan.meter
    of_conn = [
        <size_t>&c.owner, <size_t>&c.tls, <size_t>&c.fd, <size_t>&c.may_read, <size_t>&c.may_write,
        <size_t>&c.broken, <size_t>&c.outbuf.end, <size_t>&c.inbuf.end,
    ]
    of_relay = [
        <size_t>&a.got_byte, <size_t>&a.endpoint, <size_t>&a.conn, <size_t>&x.upstream,
        <size_t>&x.phase, <size_t>&x.is_streamed, <size_t>&x.strips, <size_t>&x.n_reads,
        <size_t>&x.n_head, <size_t>&x.last_data_ns, <size_t>&x.gap_max_ns, <size_t>&x.bytes_out,
        <size_t>&x.first_content_ns, <size_t>&x.partial_event.end,
        <size_t>&x.response_body.left, <size_t>&x.response_body.done,
        <size_t>&x.settings.extra_bytes, <size_t>&m.kind, <size_t>&m.is_over, <size_t>&m.n_events,
        <size_t>&m.watch, <size_t>&m.n_parts,
        <size_t>&m.last_event.head_hash, <size_t>&m.last_event.tail_len,
    ]
    begin = <size_t>&r
    return [sorted({(at - begin) // LINE for at in each}) for each in (of_conn, of_relay)]


def table():
    """The dict literal of exchange/state_machine.pyx."""
    return dict(MOVES)


def step(int phase, int what):
    """(next phase, action) of the compiled table, for a legal pair."""
    cdef unsigned char at = <unsigned char>phase
    action = <int>exchange_step(&at, <Input>what)
    return at, action


def retry_is_legal(**facts):
    cdef RetryFacts a
    memset(&a, 0, sizeof(a))
    a.head_sent = facts.get("head_sent", False)
    a.got_byte = facts.get("got_byte", False)
    a.replayable = facts.get("replayable", True)
    a.connected = facts.get("connected", True)
    a.reused = facts.get("reused", False)
    a.is_race = facts.get("is_race", False)
    a.is_idempotent = facts.get("is_idempotent", False)
    a.busy = facts.get("busy", False)
    a.timed_out = facts.get("timed_out", False)
    a.tried = facts.get("tried", 1)
    a.attempts = facts.get("attempts", 2)
    return bool(may_retry(&a))


cdef class BufferProbe:
    """One Buffer over a pool of its own."""

    cdef Buffer b
    cdef BlockPool pool

    def __cinit__(self):
        pool_init(&self.pool)

    def append(self, bytes data):
        return bool(buffer_append(&self.b, &self.pool, data, len(data)))

    def reserve(self, size_t n):
        return bool(buffer_reserve(&self.b, &self.pool, n))

    def consume(self, size_t n):
        buffer_consume(&self.b, &self.pool, n)

    def content(self):
        return (<char *>buffer_bytes(&self.b))[:buffer_len(&self.b)] if self.b.cap else b""

    def state(self):
        """(at, end, cap, bytes the pool has handed out)"""
        return self.b.at, self.b.end, self.b.cap, self.pool.bytes_out

    def __dealloc__(self):
        if self.b.cap:
            buffer_consume(&self.b, &self.pool, buffer_len(&self.b))
        pool_close(&self.pool)


cdef class RingProbe:
    cdef Ring ring

    def __cinit__(self, unsigned int slots):
        if ring_init(&self.ring, slots) < 0:
            raise MemoryError

    def push(self, uint64_t serial):
        cdef Record r
        memset(&r, 0, sizeof(r))
        r.serial = serial
        return bool(ring_push(&self.ring, &r))

    def pop(self):
        cdef Record r
        return r.serial if ring_pop(&self.ring, &r) else None

    def push_many(self, uint64_t first, uint64_t n):
        """Push without the GIL, spinning while full; for the two-thread test."""
        cdef Record r
        cdef uint64_t k
        memset(&r, 0, sizeof(r))
        with nogil:
            for k in range(n):
                r.serial = first + k
                while not ring_push(&self.ring, &r):
                    pass

    def wait(self, uint64_t n, uint64_t ns):
        with nogil:
            ring_await(&self.ring, n, ns)

    def wake(self):
        ring_wake(&self.ring)

    def overflow(self):
        return self.ring.n_overflow

    def __dealloc__(self):
        ring_close(&self.ring)


cdef void on_due(void *plane, void *owner) noexcept nogil:
    with gil:
        (<object>owner).fired()


cdef class TimerProbe:
    cdef Timer t
    cdef object log
    cdef object name

    def __init__(self, log, name):
        self.log, self.name = log, name
        timer_init(&self.t, on_due, <void *>self)

    def fired(self):
        self.log.append(self.name)

    def due(self):
        return self.t.due_ns


cdef class WheelProbe:
    """A Wheel whose clock the test sets."""

    cdef Plane p
    cdef Wheel *w

    def __cinit__(self, uint64_t now_ns):
        self.w = &self.p.wheel
        self.p.now_ns = now_ns
        if wheel_init(self.w, now_ns) < 0:
            raise OSError("timerfd_create")

    def arm(self, TimerProbe t, uint64_t due_ns):
        timer_arm(self.w, &t.t, due_ns)

    def no_later(self, TimerProbe t, uint64_t due_ns):
        timer_no_later(self.w, &t.t, due_ns)

    def disarm(self, TimerProbe t):
        timer_disarm(self.w, &t.t)

    def advance_to(self, uint64_t now_ns):
        self.p.now_ns = now_ns
        wheel_run(self.w, &self.p)

    def next_wake(self):
        """The tick to which the timerfd would be set, in ns; 0: off."""
        wheel_sync(self.w)
        return self.w.armed_tick << 24 if self.w.n_armed else 0

    def armed(self):
        return self.w.n_armed

    def __dealloc__(self):
        wheel_close(self.w)


N_BREAKER = (BREAKER_STATES, BREAKER_INPUTS)
SLOTS = WINDOW_SLOTS


def breaker_table():
    """The dict literal of upstream/breaker.pyx."""
    return dict(BREAKER_MOVES)


def breaker_next(int state, int what):
    return <int>breaker_step(<BreakerState>state, <BreakerInput>what)


cdef class BreakerProbe:
    """One breaker whose clock and attempts the test sets; attempts are numbered."""

    cdef Breaker b
    cdef BreakerSettings t
    cdef BreakerTicket[256] tickets
    cdef int n

    def __init__(self, *, failures=5, error_rate=0.0, min_requests=20, probes=1, busy=False,
                 window_ns=0, open_ns=0):
        self.t.failures, self.t.min_requests, self.t.probes = failures, min_requests, probes
        self.t.rate = <unsigned int>(error_rate * RATE_ONE)
        self.t.counts_busy = busy
        self.t.window_ns, self.t.open_ns = window_ns, open_ns

    def begin(self, uint64_t now):
        """The attempt's number, or None: it is not admitted."""
        if not breaker_admits(&self.b, &self.t, now):
            return None
        breaker_begin(&self.b, &self.t, &self.tickets[self.n % 256], now)
        self.n += 1
        return self.n - 1

    def confirm(self, int k):
        return bool(breaker_confirm(&self.b, &self.t, &self.tickets[k % 256]))

    def end(self, int k, int result, uint64_t now, bint is_last=False):
        self.tickets[k % 256].result = result
        breaker_end(&self.b, &self.t, &self.tickets[k % 256], is_last, now)

    def off(self):
        breaker_off(&self.b)

    def close_unproven(self):
        breaker_close_unproven(&self.b)

    def state(self):
        return {"state": self.b.state, "probing": self.b.n_probing, "confirmed": self.b.n_confirmed,
                "due": self.b.due_ns, "trips": self.b.n_trips, "in_a_row": self.b.in_a_row,
                "transitions": list(self.b.transitions)}


cdef class KeepaliveProbe:
    """The learned keep-alive of one endpoint, at times in seconds that the test names."""

    cdef Endpoint e

    def __init__(self, idle_timeout):
        self.e.pool.idle_ns = <uint64_t>(idle_timeout * 1e9)
        self.e.pool.learns = 1

    def closed_after(self, idle, now):
        cdef Conn c
        c.since_ns = <uint64_t>((now - idle) * 1e9)
        keepalive_lower(&self.e, &c, <uint64_t>(now * 1e9))

    def idle_until(self, now):
        keepalive_raise(&self.e, <uint64_t>(now * 1e9))

    def limit(self):
        return keepalive_limit(&self.e) / 1e9


def histogram(values):
    """(counts, sum, n) after adding values in ns."""
    cdef Histogram h
    memset(&h, 0, sizeof(h))
    for value in values:
        histogram_add(&h, value)
    return [h.counts[i] for i in range(BUCKETS)], h.sum_ns, h.n


def bounds():
    return [histogram_bound(i) for i in range(BUCKETS - 1)]
