from libc.stdint cimport int64_t, uint64_t

from zeroproxy._fast.types.plane cimport Endpoint, Upstream


cdef bint upstream_is_full(const Upstream *u, uint64_t now) noexcept nogil
cdef int64_t upstream_free_permits(const Upstream *u, uint64_t now, int64_t *total) noexcept nogil
cdef Endpoint *upstream_pick(
    Upstream *u, const Endpoint *avoid, uint64_t key, uint64_t now,
) noexcept nogil
