from libc.stddef cimport size_t

from zeroproxy._fast.plane cimport Plane, Relay, Route
from zeroproxy._fast.types cimport Head

cdef void begin_editing(
    Plane *p, Relay *r, Head *h, size_t here, const Route *route,
) noexcept nogil
cdef bint pass_body(Plane *p, Relay *r, char *data, size_t n, bint is_last) noexcept nogil
cdef bint retry_unedited(Plane *p, Relay *r, int status) noexcept nogil
cdef void drop_digests(Head *h) noexcept nogil
cdef void judge_edits(Relay *r, int status) noexcept nogil
