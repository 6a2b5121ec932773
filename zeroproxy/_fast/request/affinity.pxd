from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

from zeroproxy._fast.request.routing cimport BodyStart
from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.meter cimport RequestScan
from zeroproxy._fast.types.plane cimport Plane, Relay, Upstream


cdef enum AffinityState:
    AFFINITY_MORE = 0       # it may be further on
    AFFINITY_FOUND
    AFFINITY_ABSENT


# Hash of [at, at + len), never 0, which is no affinity.
cdef uint64_t affinity_hash(const char *at, size_t len) noexcept nogil
# AffinityState of the user, whose hash goes to `found`. `body` is the scanned body from its first
# byte on, borrowed; is_all: no more of it counts.
cdef int affinity_of_user(
    const RequestScan *a, const char *body, bint is_all, uint64_t *found,
) noexcept nogil
# The same of the first `prefix` bytes of the prompt.
cdef int affinity_of_prompt(
    const RequestScan *a, const char *body, bint is_all, uint32_t prefix, uint64_t *found,
) noexcept nogil
# Set r.x.affinity for this upstream, or 0 if there is none. False: wait for more of the body.
cdef bint find_affinity(
    Plane *p, Relay *r, const Upstream *u, const Head *h, BodyStart *b,
) noexcept nogil
