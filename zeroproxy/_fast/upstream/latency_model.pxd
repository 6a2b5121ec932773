from libc.stdint cimport uint64_t

from zeroproxy._fast.types.affinity_and_latency cimport LatencyModel, ResponseLength
from zeroproxy._fast.types.plane cimport Endpoint, Plane, Relay


# Exchanges in flight at the endpoint, those of other proxies as far as they are known.
cdef double latency_load(const Endpoint *e, uint64_t now) noexcept nogil
# There is a sample.
cdef bint latency_is_known(const Endpoint *e) noexcept nogil
# Time that an exchange is expected to take with q in flight, itself included, in ns; > 0.
cdef double latency_estimate(
    const LatencyModel *s, const ResponseLength *l, double q,
) noexcept nogil
# The endpoint is idle and was not tried for long: one request shows how quick it is now.
cdef bint latency_is_due(const Endpoint *e, uint64_t now) noexcept nogil
# Start a sample, before the endpoint counts the attempt as in flight.
cdef void latency_attempt_begins(Plane *p, Relay *r) noexcept nogil
# Take the sample, before the endpoint's count falls; the result of the attempt is final.
cdef void latency_attempt_ends(Plane *p, Relay *r) noexcept nogil
# Take a server's report: requests that run and wait, part of the cache in use (-1: unknown).
cdef void latency_report_load(
    Endpoint *e, double[3] load, uint64_t lasts, uint64_t now,
) noexcept nogil
# Forget the samples: another server may have come up. Exchanges in flight go on.
cdef void latency_forget(Endpoint *e) noexcept nogil
