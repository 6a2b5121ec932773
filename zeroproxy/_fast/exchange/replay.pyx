"""The replay buffer on its way to an endpoint.

Note. Where Host is the endpoint's own, the buffer holds none. A retry or a hedge at another
      endpoint is the same request but for that value.
Tests: tests/relay/test_host.py.
"""

from libc.stddef cimport size_t
from libc.string cimport memcpy

from zeroproxy._fast.jsonscan.edits cimport edit_undo
from zeroproxy._fast.memory.buffer cimport buffer_bytes, buffer_len
from zeroproxy._fast.net.conn cimport conn_send
from zeroproxy._fast.types.memory cimport BLOCK_LARGE
from zeroproxy._fast.types.plane cimport Attempt, Endpoint, Plane, Relay
from zeroproxy._fast.types.record cimport USAGE_BY_REFUSED


cdef bint send_with_host(Plane *p, Relay *r, Attempt *a) noexcept nogil:
    """One send, unless that is more than a block."""
    cdef const char *at = buffer_bytes(&r.x.replay)
    cdef const Endpoint *e = a.endpoint
    cdef size_t left = buffer_len(&r.x.replay) - r.x.host_at
    cdef size_t n = r.x.host_at + e.authority_len
    cdef size_t some = left if left < BLOCK_LARGE - n else BLOCK_LARGE - n
    memcpy(p.compose, at, r.x.host_at)
    memcpy(p.compose + r.x.host_at, e.authority, e.authority_len)
    memcpy(p.compose + n, at + r.x.host_at, some)
    if not conn_send(p, a.conn, p.compose, n + some):
        return 0
    return some == left or conn_send(p, a.conn, at + r.x.host_at + some, left - some)


cdef bint send_replay(Plane *p, Relay *r, Attempt *a) noexcept nogil:
    if r.x.host_at:
        return send_with_host(p, r, a)
    return conn_send(p, a.conn, buffer_bytes(&r.x.replay), buffer_len(&r.x.replay))


cdef void undo_edits(Relay *r) noexcept nogil:
    cdef int k
    for k in range(r.x.n_edits):
        edit_undo(buffer_bytes(&r.x.replay) + r.x.edits[k].at, r.x.edits[k].n, r.x.edits[k].was)
    r.x.edited = 0
    r.x.usage_by = USAGE_BY_REFUSED
