"""The head of a request as it goes to its upstream, composed in the replay buffer.

Note. A place for Host is left open where the endpoint is not known yet (exchange/replay.pyx).
Tests: tests/relay/test_host.py, tests/relay/test_heads.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t
from libc.string cimport memchr

from zeroproxy._fast.exchange.exchange_ids cimport adopt_trace
from zeroproxy._fast.http1.field_lines cimport nominate
from zeroproxy._fast.http1.head_writer cimport write_request_head
from zeroproxy._fast.http1.hop cimport RequestHop
from zeroproxy._fast.memory.buffer cimport buffer_append
from zeroproxy._fast.request.engine_priority cimport PRIORITY_LINE_MAX, write_priority
from zeroproxy._fast.request.surface cimport strip_fields
from zeroproxy._fast.types.http cimport FIELD_COOKIE, Head
from zeroproxy._fast.types.memory cimport BLOCK_LARGE
from zeroproxy._fast.types.plane cimport Plane, Relay


cdef uint32_t host_place(const char *head, size_t n) noexcept nogil:
    """Offset of the value of Host, which is the line behind the first."""
    cdef const char *line = <const char *>memchr(head, c'\n', n)
    return <uint32_t>(line - head) + 7 if line != NULL else 0


cdef bint compose_request(Plane *p, Relay *r, Head *h) noexcept nogil:
    cdef RequestHop hop
    cdef char[64] trace
    cdef char[PRIORITY_LINE_MAX] priority
    cdef size_t n
    hop.peer.at = r.peer
    hop.peer.len = r.peer_len
    hop.proto.at = b"https"
    hop.proto.len = 4 + (r.down.tls != NULL)
    hop.host.at = r.x.upstream.host
    hop.host.len = r.x.upstream.host_len
    hop.drops_host = r.x.upstream.sends_own_host
    hop.request_id.at = r.x.request_id
    hop.request_id.len = r.x.id_len
    hop.traceparent.at = trace
    hop.traceparent.len = adopt_trace(p, r, h, trace)
    hop.bearer.at = r.x.upstream.bearer
    # A caller without a key (a preflight) does not get the proxy's.
    hop.bearer.len = r.x.upstream.bearer_len if r.x.key != NULL or not p.keys.is_on else 0
    hop.drops_keys = r.x.upstream.bearer != NULL or (p.keys.is_on and not p.keys.forwards)
    hop.lines.at = priority
    hop.lines.len = write_priority(r, h, priority)
    hop.adds_via = p.adds_via
    hop.trusts_forwarded = p.trusts_forwarded
    hop.framing = h.framing
    hop.length = h.length + r.x.reserve
    if not r.x.upstream.passes_cookies:
        nominate(h, FIELD_COOKIE)
    strip_fields(r, h)
    n = write_request_head(h, &hop, p.compose, BLOCK_LARGE)
    if (hop.drops_host or (h.host_field < 0 and h.authority_len == 0)) and hop.host.len == 0:
        r.x.host_at = host_place(p.compose, n)
    return n != 0 and buffer_append(&r.x.replay, &p.blocks, p.compose, n)
