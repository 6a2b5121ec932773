from libc.stdint cimport uint64_t

from zeroproxy._fast.plane cimport Endpoint, Upstream


cdef bint upstream_is_full(const Upstream *u, uint64_t now) noexcept nogil
cdef Endpoint *upstream_pick(
    Upstream *u, const Endpoint *avoid, uint64_t key, uint64_t now,
) noexcept nogil
cdef uint64_t upstream_wait(const Upstream *u, uint64_t now) noexcept nogil
