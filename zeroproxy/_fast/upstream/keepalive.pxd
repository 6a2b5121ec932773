from libc.stdint cimport uint64_t

from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.plane cimport Conn, Endpoint

cdef void keepalive_observe(Endpoint *e, const Head *h) noexcept nogil
cdef uint64_t keepalive_limit(const Endpoint *e) noexcept nogil
cdef bint keepalive_is_spent(const Endpoint *e, const Conn *c, uint64_t now_ns) noexcept nogil
cdef void keepalive_lower(Endpoint *e, const Conn *c, uint64_t now_ns) noexcept nogil
cdef void keepalive_raise(Endpoint *e, uint64_t now_ns) noexcept nogil
cdef void keepalive_forget(Endpoint *e) noexcept nogil
