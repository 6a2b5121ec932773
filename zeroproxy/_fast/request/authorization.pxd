from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.meter cimport Asked
from zeroproxy._fast.types.plane cimport Plane, Relay

cdef int judge_key(Plane *p, Relay *r, const Head *h) noexcept nogil
cdef bint is_bound(const Relay *r) noexcept nogil
cdef bint may_ask_for(const Relay *r, const Asked *a) noexcept nogil
cdef bint is_plain_json(const char *at, size_t n) noexcept nogil
