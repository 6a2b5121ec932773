"""Terms of an API key: until when it is good, where it may go, and its places in flight.

Law 1. A place is held from the moment an exchange asks for a permit until its last byte from
       upstream, however it ends. No more exchanges of a key hold one than max_inflight.
Law 2. Where a key waits, a free place goes to the exchange that waits longest; a new one overtakes
       none.
Tests: tests/relay/test_key_terms.py.
"""

from libc.stdint cimport uint32_t, uint64_t

from zeroproxy._fast.tenants.fifo cimport fifo_push, fifo_remove
from zeroproxy._fast.types.http cimport FAULT_KEY_DISABLED, FAULT_KEY_EXPIRED, FAULT_NONE
from zeroproxy._fast.types.invariant cimport invariant
from zeroproxy._fast.types.key_and_quota cimport ApiKey
from zeroproxy._fast.types.key_terms cimport TERM_COUNT
from zeroproxy._fast.types.plane cimport Relay, RelayFifo


cdef int term_fault(const ApiKey *k, uint64_t wall_ns) noexcept nogil:
    if k.terms.is_disabled:
        return FAULT_KEY_DISABLED
    if k.terms.expires_ns and wall_ns >= k.terms.expires_ns:
        return FAULT_KEY_EXPIRED
    return FAULT_NONE


cdef bint key_allows_upstream(const ApiKey *k, uint32_t index) noexcept nogil:
    cdef uint32_t i
    for i in range(k.terms.n_upstreams):
        if k.terms.upstreams[i] == index:
            return 1
    return k.terms.n_upstreams == 0


cdef void count_term(ApiKey *k, int fault) noexcept nogil:
    cdef int term = fault - FAULT_KEY_DISABLED
    if k != NULL and 0 <= term < TERM_COUNT:
        k.n_refused[term] += 1


# ---------------------------------------------------------------- places


cdef inline RelayFifo *waiting_for(const ApiKey *k) noexcept nogil:
    return <RelayFifo *>k.waiting


cdef inline bint has_place(const ApiKey *k) noexcept nogil:
    return k.terms.max_inflight == 0 or k.inflight < k.terms.max_inflight


cdef void hold_place(Relay *r) noexcept nogil:
    r.x.key.inflight += 1
    r.x.terms.holds_place = 1


cdef bint acquire_place(Relay *r) noexcept nogil:
    cdef const ApiKey *k = r.x.key
    if k == NULL:
        return 1
    if not has_place(k) or (k.terms.waits and waiting_for(k).n):
        return 0
    hold_place(r)
    return 1


cdef bint release_place(Relay *r) noexcept nogil:
    if not r.x.terms.holds_place:
        return 0
    r.x.terms.holds_place = 0
    invariant(r.x.key.inflight > 0)
    r.x.key.inflight -= 1
    return 1


cdef bint wait_for_place(Relay *r, uint32_t most) noexcept nogil:
    cdef RelayFifo *l = waiting_for(r.x.key)
    if not r.x.key.terms.waits or l.n >= most:
        return 0
    fifo_push(l, r)
    r.x.terms.waits_place = 1
    return 1


cdef void stop_waiting_for_place(Relay *r) noexcept nogil:
    if r.x.terms.waits_place:
        r.x.terms.waits_place = 0
        fifo_remove(waiting_for(r.x.key), r)


cdef Relay *next_for_place(ApiKey *k) noexcept nogil:
    cdef Relay *r = waiting_for(k).head
    if r == NULL or not has_place(k):
        return NULL
    stop_waiting_for_place(r)
    hold_place(r)
    return r
