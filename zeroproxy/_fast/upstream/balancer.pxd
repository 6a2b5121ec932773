from libc.stdint cimport int64_t, uint64_t

from zeroproxy._fast.types.plane cimport Endpoint, Upstream


# An endpoint in rotation is at its cap: where none can be picked, a wait is worth it.
cdef bint upstream_is_full(const Upstream *u, uint64_t now) noexcept nogil
# Exchanges that endpoints in rotation may still take; `total`: with those they have.
cdef int64_t upstream_free_permits(const Upstream *u, uint64_t now, int64_t *total) noexcept nogil
# Pick an endpoint in rotation, other than `avoid` if there is one. NULL: none, or all at caps.
cdef Endpoint *upstream_pick(
    Upstream *u, const Endpoint *avoid, uint64_t key, uint64_t now,
) noexcept nogil
