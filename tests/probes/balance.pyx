"""Access for tests and bench to the choice of endpoints, with a clock of the caller's own. Nothing
outside tests/ and bench/ imports this."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from zeroproxy._fast.jsonscan.request_scan cimport request_scan_begin, request_scan_feed
from zeroproxy._fast.request.affinity cimport (
    AFFINITY_FOUND,
    AFFINITY_MORE,
    affinity_hash,
    affinity_of_prompt,
    affinity_of_user,
)
from zeroproxy._fast.types.clock cimport clock_monotonic_ns
from zeroproxy._fast.types.http cimport METHOD_POST
from zeroproxy._fast.types.meter cimport RequestScan
from zeroproxy._fast.types.plane cimport Endpoint, Plane, Relay, Upstream
from zeroproxy._fast.upstream.balancer cimport upstream_pick
from zeroproxy._fast.upstream.breaker cimport attempt_begins, attempt_ends, note_status
from zeroproxy._fast.upstream.latency_model cimport (
    latency_attempt_begins,
    latency_attempt_ends,
    latency_estimate,
    latency_is_known,
    latency_load,
    latency_report_load,
)


def key(bytes text):
    return affinity_hash(text, len(text))


cdef object as_found(int state, uint64_t found):
    return found if state == AFFINITY_FOUND else ... if state == AFFINITY_MORE else None


def affinity_of(bytes body, bint is_all, int prefix, ends=()):
    """(user, prompt) in the first bytes of a body: a hash, None: absent, ...: more is needed.
    `ends`: how many were here at looks before."""
    cdef RequestScan a
    cdef const char *at = body
    cdef uint64_t found = 0
    cdef int state
    request_scan_begin(&a, NULL)
    for end in (*ends, len(body)):
        request_scan_feed(&a, 0, at, end)
    state = affinity_of_user(&a, at, is_all, &found)
    user = as_found(state, found)
    state = affinity_of_prompt(&a, at, is_all, prefix, &found)
    return user, as_found(state, found)


cdef class Balancer:
    """One upstream; endpoints are known by their place in `urls`. Times are in ns."""

    cdef Plane *p
    cdef Upstream *u
    cdef Endpoint **endpoints

    def __cinit__(self, int balance, list urls, list weights=None, double bound=1.25, seed=1):
        cdef uint32_t i
        cdef bytes url
        self.p = <Plane *>calloc(1, sizeof(Plane))
        self.u = <Upstream *>calloc(1, sizeof(Upstream))
        self.endpoints = <Endpoint **>calloc(len(urls), sizeof(Endpoint *))
        if self.p == NULL or self.u == NULL or self.endpoints == NULL:
            raise MemoryError
        self.u.balance = balance
        self.u.chance = seed
        self.u.hash.bound = bound
        self.u.endpoints = self.endpoints
        for i, name in enumerate(urls):
            self.endpoints[i] = <Endpoint *>calloc(1, sizeof(Endpoint))
            if self.endpoints[i] == NULL:
                raise MemoryError
            self.u.n_endpoints += 1
            url = name.encode()
            self.endpoints[i].upstream = self.u
            self.endpoints[i].index = i
            self.endpoints[i].in_rotation = 1
            self.endpoints[i].weight = weights[i] if weights else 1
            self.endpoints[i].hash = affinity_hash(url, len(url))

    def __dealloc__(self):
        cdef uint32_t i
        if self.u != NULL and self.endpoints != NULL:
            for i in range(self.u.n_endpoints):
                free(self.endpoints[i])
        free(self.endpoints)
        free(self.u)
        free(self.p)

    def set_time(self, uint64_t now):
        self.p.now_ns = now

    def set_up(self, uint32_t i, bint up):
        self.endpoints[i].in_rotation = up

    def set_inflight(self, uint32_t i, uint32_t n):
        self.endpoints[i].inflight = n

    def inflight(self):
        return [self.endpoints[i].inflight for i in range(self.u.n_endpoints)]

    def tell(self, uint32_t i, running, waiting, cache, uint64_t lasts):
        cdef double[3] load
        load[0], load[1], load[2] = running, waiting, cache
        latency_report_load(self.endpoints[i], load, lasts, self.p.now_ns)

    def load(self, uint32_t i):
        return latency_load(self.endpoints[i], self.p.now_ns)

    def time(self, uint32_t i, double q):
        """Expected with q in flight, in ns; None: it has not answered yet."""
        cdef Endpoint *e = self.endpoints[i]
        if not latency_is_known(e):
            return None
        return latency_estimate(&e.latency, &self.u.response_length, q)

    def pick(self, uint64_t key=0, int avoid=-1):
        """Its place, or None."""
        cdef const Endpoint *other = self.endpoints[avoid] if avoid >= 0 else NULL
        cdef Endpoint *e = upstream_pick(self.u, other, key, self.p.now_ns)
        return None if e == NULL else e.index

    def time_picks(self, uint32_t n):
        """ns per pick."""
        cdef uint32_t k
        cdef uint64_t began = clock_monotonic_ns()
        for k in range(n):
            upstream_pick(self.u, NULL, k * <uint64_t>0x9e3779b97f4a7c15, self.p.now_ns)
        return (clock_monotonic_ns() - began) / n


cdef class Attempt:
    """One attempt of a Balancer, begun now; the request is sent in the same moment."""

    cdef Relay *r
    cdef Balancer on

    def __cinit__(self, Balancer on, uint32_t i):
        self.r = <Relay *>calloc(1, sizeof(Relay))
        if self.r == NULL:
            raise MemoryError
        self.on = on
        self.r.x.upstream = on.u
        self.r.attempt.endpoint = on.endpoints[i]
        self.r.x.method = METHOD_POST
        latency_attempt_begins(on.p, self.r)
        attempt_begins(on.p, self.r)
        self.r.attempt.began_ns = self.r.attempt.sent_ns = self.r.x.request_read_ns = on.p.now_ns

    def __dealloc__(self):
        free(self.r)

    def speak(self):
        """The first byte of the answer."""
        self.r.x.first_content_ns = self.on.p.now_ns

    def end(self, int status=200, uint32_t events=0):
        """The last byte; events > 0: it came event by event."""
        cdef Relay *r = self.r
        r.x.last_data_ns = self.on.p.now_ns
        if r.x.first_content_ns == 0:
            r.x.first_content_ns = r.x.last_data_ns
        r.x.status = status
        r.x.response_body.done = r.x.head_sent = 1
        r.x.is_streamed = events > 0
        r.x.scan.meter.n_events = events
        note_status(r, status)
        latency_attempt_ends(self.on.p, r)
        attempt_ends(self.on.p, r)
