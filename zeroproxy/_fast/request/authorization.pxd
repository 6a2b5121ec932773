from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.meter cimport RequestScan
from zeroproxy._fast.types.plane cimport Plane, Relay

cdef int authorize(Plane *p, Relay *r, const Head *h) noexcept nogil
cdef bint is_model_restricted(const Relay *r) noexcept nogil
cdef bint has_token_quota(const Relay *r) noexcept nogil
cdef int judge_body(Plane *p, Relay *r) noexcept nogil
cdef bint is_model_allowed(const Relay *r, const RequestScan *a) noexcept nogil
cdef bint is_plain_json(const char *at, size_t n) noexcept nogil
