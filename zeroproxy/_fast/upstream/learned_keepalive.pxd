from libc.stdint cimport uint64_t

from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.plane cimport Conn, Endpoint

# Learn from `Keep-Alive: timeout=N, max=M`; without it nothing changes.
cdef void keepalive_observe(Endpoint *e, const Head *h) noexcept nogil
# Time that a conn may be idle, in ns; 0: for ever.
cdef uint64_t keepalive_limit(const Endpoint *e) noexcept nogil
# The conn is too old, or its next request may be its last.
cdef bint keepalive_is_spent(const Endpoint *e, const Conn *c, uint64_t now_ns) noexcept nogil
# Learn that the endpoint closed a conn, idle since c.since_ns.
cdef void keepalive_lower(Endpoint *e, const Conn *c, uint64_t now_ns) noexcept nogil
# Go a step up if nothing was closed for long; a limit without effect is forgotten.
cdef void keepalive_raise(Endpoint *e, uint64_t now_ns) noexcept nogil
# Forget what was learned.
cdef void keepalive_forget(Endpoint *e) noexcept nogil
