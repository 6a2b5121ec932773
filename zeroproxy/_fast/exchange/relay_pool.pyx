"""Relay structs: acquired, released, put on the run list; and the blame for an exchange's end.

Note. A relay struct goes back to the free list from ACT_CLOSE, or from an accept that failed.
"""

from libc.stdlib cimport free, realloc
from libc.string cimport memset

from zeroproxy._fast.jsonscan.strings cimport name_free
from zeroproxy._fast.memory.buffer cimport alloc_lines, buffer_clear
from zeroproxy._fast.net.timer cimport timer_init
from zeroproxy._fast.types.exchange_enums cimport BLAME_NOBODY, CAUSE_DONE, PHASE_CLOSED, PHASE_IDLE
from zeroproxy._fast.types.invariant cimport invariant
from zeroproxy._fast.types.plane cimport Attempt, Exchange, Plane, Relay


# No constant: a compiler would clear the struct word by word.
cdef size_t EXCHANGE_SIZE = sizeof(Exchange)


cdef bint remember(Plane *p, Relay *r) noexcept nogil:
    cdef Relay **grown
    cdef size_t cap
    if p.n_relays == p.cap_relays:
        cap = p.cap_relays * 2 if p.cap_relays else 64
        grown = <Relay **>realloc(p.relays, cap * sizeof(Relay *))
        if grown == NULL:
            return 0
        p.relays = grown
        p.cap_relays = <unsigned int>cap
    p.relays[p.n_relays] = r
    p.n_relays += 1
    return 1


cdef Relay *acquire_relay(Plane *p) noexcept nogil:
    cdef Relay *r = p.free_relays
    if r != NULL:
        p.free_relays = r.run_next
    else:
        r = <Relay *>alloc_lines(sizeof(Relay))
        if r == NULL or not remember(p, r):
            free(r)
            return NULL
    memset(r, 0, sizeof(Relay))
    r.down.fd = -1
    r.down.owner = r
    r.down.reporter = r
    r.live = 1
    timer_init(&r.down.timer, p.on_relay_due, r)
    p.counters.relays += 1
    return r


cdef void release_relay(Plane *p, Relay *r) noexcept nogil:
    invariant(r.attempt.conn == NULL and r.hedge.conn == NULL and r.x.replay.cap == 0)
    invariant(not r.x.holds_permit and r.down.fd < 0 and not r.down.deferred)
    invariant(not r.x.terms.holds_place and not r.x.terms.waits_place)
    name_free(&r.x.model)
    r.live = 0
    r.x.phase = PHASE_CLOSED
    p.counters.relays -= 1
    if not r.in_run:
        r.run_next = p.free_relays
        p.free_relays = r


cdef void relay_reset(Plane *p, Relay *r) noexcept nogil:
    buffer_clear(&r.x.replay, &p.blocks)
    buffer_clear(&r.x.partial_event, &p.blocks)
    name_free(&r.x.model)
    memset(&r.x, 0, EXCHANGE_SIZE)
    memset(&r.attempt, 0, sizeof(Attempt))
    r.x.phase = PHASE_IDLE
    r.down.since_ns = p.now_ns
    r.down.served += 1


cdef void relay_later(Plane *p, Relay *r) noexcept nogil:
    """The run list is served at the end of the batch. Work for another relay, and the next
    pipelined request, go this way so that nothing recurses."""
    if r.in_run:
        return
    r.in_run = 1
    r.run_next = NULL
    if p.run_tail != NULL:
        p.run_tail.run_next = r
    else:
        p.run_head = r
    p.run_tail = r


cdef void rate_begin(const Plane *p, Relay *r) noexcept nogil:
    """The caller can send its body from now on: there is a conn for it, or upstream reads again."""
    r.x.rate_ns = p.now_ns
    r.x.rate_at = r.x.request_body.total


cdef void blame(Relay *r, int who, int why) noexcept nogil:
    """The first cause stands: others follow from it."""
    if r.x.cause == CAUSE_DONE and r.x.blame == BLAME_NOBODY:
        r.x.blame = <unsigned char>who
        r.x.cause = <unsigned char>why
        r.x.ended_in = r.x.phase
