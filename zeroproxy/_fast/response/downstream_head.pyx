"""Heads of responses as callers get them: framing, and the fields that this hop adds.

Tests: tests/relay/test_answer_heads.py, tests/relay/test_cors.py, tests/relay/test_late_head.py.
"""

from libc.stddef cimport size_t

from zeroproxy._fast.exchange.date_field cimport date_now
from zeroproxy._fast.exchange.limit_fields cimport LIMIT_FIELDS_MAX, write_limit_fields
from zeroproxy._fast.http1.cors_fields cimport drop_cors_fields
from zeroproxy._fast.http1.head_writer cimport ResponseHop, write_response_head
from zeroproxy._fast.types.http cimport (
    FRAMING_CHUNKED,
    FRAMING_CLOSE,
    FRAMING_LENGTH,
    FRAMING_NONE,
    Head,
)
from zeroproxy._fast.types.memory cimport BLOCK_LARGE
from zeroproxy._fast.types.plane cimport Plane, Relay
from zeroproxy._fast.usage.strip cimport STRIPS_NOT


cdef bint may_shrink(const Relay *r) noexcept nogil:
    return r.x.edited != 0 and r.x.strips != STRIPS_NOT


cdef int choose_framing(Relay *r, const Head *h) noexcept nogil:
    if h.framing == FRAMING_NONE or (h.framing == FRAMING_LENGTH and not may_shrink(r)):
        return h.framing
    return FRAMING_CHUNKED if r.x.minor else FRAMING_CLOSE


cdef size_t write_head(Plane *p, Relay *r, Head *h) noexcept nogil:
    cdef char[LIMIT_FIELDS_MAX] limits
    cdef ResponseHop back
    back.lines.at = limits
    back.lines.len = write_limit_fields(p, r, h, limits)
    back.cors.len = 0
    if r.x.cors != NULL and h.status >= 200:
        drop_cors_fields(h)
        back.cors = r.x.cors[0]
    back.date = date_now(p)
    back.request_id.at = r.x.request_id
    back.request_id.len = r.x.id_len
    back.framing = <unsigned char>r.x.out_framing
    back.length = h.length
    back.closes = r.x.asks_close
    back.keeps_alive = r.x.minor == 0 and not r.x.asks_close
    back.switches = h.status == 101
    return write_response_head(h, &back, p.compose, BLOCK_LARGE)
