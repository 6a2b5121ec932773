from libc.stdint cimport uint32_t, uint64_t

from zeroproxy._fast.plane cimport Endpoint, Plane, Relay, Upstream


cdef double pace_load(const Endpoint *e, uint64_t now) noexcept nogil
cdef bint pace_line(
    const Upstream *u, const Endpoint *e, double *a, double *b,
) noexcept nogil
cdef bint pace_is_due(const Endpoint *e, uint64_t now) noexcept nogil
cdef void pace_begins(Plane *p, Relay *r) noexcept nogil
cdef void pace_ends(Plane *p, Relay *r) noexcept nogil
cdef void pace_tell(Endpoint *e, double[3] load, uint64_t lasts, uint64_t now) noexcept nogil
cdef void pace_forget(Endpoint *e) noexcept nogil
