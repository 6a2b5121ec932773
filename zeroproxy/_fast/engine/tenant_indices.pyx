"""The indices of tenants, which records, tables and shares hold.

Law 1. An index means one tenant as long as anything refers to it. That may be a key in force, an
       exchange, a record on its way, or a row of the overflow. Then it may mean another.
Law 2. The plane's thread reads nothing of this file.
Tests: tests/relay/test_tenants.py.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset

from zeroproxy._fast.engine.thread cimport PlaneThread
from zeroproxy._fast.memory.ring cimport Ring, ring_done, ring_head
from zeroproxy._fast.types.plane cimport FairQueue, Plane
from zeroproxy._fast.usage.overflow cimport overflow_forget, overflow_mark
from zeroproxy._fast.usage.stats cimport ALL_OTHERS, Stats, tokens_forget

cdef enum:
    INDICES = 65536
    SLICE = 256             # relays read under the plane lock at once, each a cache miss
    RECLAIM_FIRST = 64      # leave together: the tables are walked once for all


cdef void mark_relays(const Plane *p, uint32_t first, uint8_t *marks) noexcept nogil:
    cdef uint32_t i
    for i in range(first, min(first + SLICE, p.n_relays)):
        if p.relays[i].live:
            marks[p.relays[i].x.tenant] = 1


cdef void forget(Plane *p, const uint8_t *gone) noexcept nogil:
    cdef Stats *stats = <Stats *>p.stats
    cdef uint32_t i, k
    cdef FairQueue *q
    tokens_forget(&stats.tokens, gone)
    overflow_forget(&stats.overflow, gone)
    for i in range(p.n_upstreams):
        q = &p.upstreams[i].queue
        for k in range(q.n_shares):
            if gone[k]:
                memset(&q.shares[k], 0, sizeof(q.shares[k]))


cdef class Tenants:
    """The table of one engine. Use it with the engine's lock, without the plane lock."""

    def __cinit__(self):
        self.names = [""]
        self.index = {"": 0}
        self.free = []
        self.in_force = {0}
        self.leaving = {}

    cdef int find(self, str name) except -1:
        """Index of the tenant, a new one if it had none."""
        cdef int at = self.index.get(name, -1)
        if at < 0:
            if self.free:
                at = self.free.pop()
                self.names[at] = name
            elif len(self.names) < ALL_OTHERS:
                at = len(self.names)
                self.names.append(name)
            else:
                raise ValueError(f"too many tenants: {ALL_OTHERS - 1} are the most")
            self.index[name] = at
        self.leaving.pop(at, None)
        return at

    cdef int keep(self, set in_force) except -1:
        """Note that these are in force; the others leave."""
        self.in_force = in_force
        for at in self.index.values():
            if at and at not in in_force and at not in self.leaving:
                self.leaving[at] = None
        return 0

    cdef int reclaim(self, PlaneThread engine) except -1:
        """Free the indices that nothing refers to any more (law 1), if they are many."""
        cdef bytearray busy, gone
        if len(self.leaving) < max(RECLAIM_FIRST, len(self.names) // 4):
            return 0
        busy, gone = self.look(engine), bytearray(INDICES)
        freed = [at for at, head in self.leaving.items() if self.is_over(engine.p, busy, at, head)]
        for at in freed:
            gone[at] = 1
            del self.leaving[at]
            del self.index[self.names[at]]
        if freed:
            with engine:
                forget(engine.p, gone)
            self.free += freed
        return 0

    cdef object look(self, PlaneThread engine):
        """Mark tenants with exchanges, or with overflow that was not taken. Those without a key in
        force get no new ones, so that slices are enough."""
        cdef bytearray busy = bytearray(INDICES)
        cdef Plane *p = engine.p
        cdef uint32_t first = 0
        while first < p.n_relays:
            with engine:
                mark_relays(p, first, busy)
            first += SLICE
        with engine:
            overflow_mark(&(<Stats *>p.stats).overflow, busy)
        return busy

    cdef bint is_over(self, Plane *p, bytearray busy, int at, head) except -1:
        cdef Ring *ring = <Ring *>p.ring
        if busy[at]:
            return 0
        if head is None:
            head = self.leaving[at] = ring_head(ring)
        return ring_done(ring) >= head
