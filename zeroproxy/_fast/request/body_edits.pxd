from libc.stddef cimport size_t

from zeroproxy._fast.request.routing cimport BodyStart, Target
from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.plane cimport Plane, Relay, Upstream

cdef void begin_editing(
    Plane *p, Relay *r, Head *h, size_t here, const BodyStart *body, const Target *to,
) noexcept nogil
cdef int usage_request_for(const Upstream *u, const Relay *r) noexcept nogil
cdef bint pass_body(Plane *p, Relay *r, char *data, size_t n, bint is_last) noexcept nogil
cdef bint retry_unedited(Plane *p, Relay *r, int status) noexcept nogil
cdef void drop_digests(Head *h) noexcept nogil
cdef void judge_edits(Relay *r, int status) noexcept nogil
