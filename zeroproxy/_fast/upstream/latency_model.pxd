from libc.stdint cimport uint64_t

from zeroproxy._fast.types.balance cimport LatencyModel, ResponseLength
from zeroproxy._fast.types.plane cimport Endpoint, Plane, Relay


cdef double latency_load(const Endpoint *e, uint64_t now) noexcept nogil
cdef bint latency_is_known(const Endpoint *e) noexcept nogil
cdef double latency_estimate(
    const LatencyModel *s, const ResponseLength *l, double q,
) noexcept nogil
cdef bint latency_is_due(const Endpoint *e, uint64_t now) noexcept nogil
cdef void latency_attempt_begins(Plane *p, Relay *r) noexcept nogil
cdef void latency_attempt_ends(Plane *p, Relay *r) noexcept nogil
cdef void latency_report_load(
    Endpoint *e, double[3] load, uint64_t lasts, uint64_t now,
) noexcept nogil
cdef void latency_forget(Endpoint *e) noexcept nogil
