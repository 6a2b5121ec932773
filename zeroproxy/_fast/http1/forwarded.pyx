"""The origin of a request: X-Forwarded-*, Forwarded (RFC 7239) and X-Real-IP.

Law 1. Without trust nothing of the caller's is passed on: X-Forwarded-For, -Proto and -Host are
       written anew, the others are dropped.
Law 2. A trusted list is extended by this hop's element, and only if it is well formed. A trusted
       X-Real-IP is one address.
Tests: tests/unit/test_headers.py.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memchr

from zeroproxy._fast.http1.field_ids_and_values cimport is_forwarded, is_ip
from zeroproxy._fast.http1.field_lines cimport has_field, value_span
from zeroproxy._fast.http1.grammar cimport Cursor
from zeroproxy._fast.http1.hop cimport RequestHop
from zeroproxy._fast.http1.out cimport (
    Out,
    clean,
    put_line,
    put_optional,
    put_span,
    put_word,
    requested_host,
)
from zeroproxy._fast.types.http cimport (
    FIELD_FORWARDED,
    FIELD_X_FORWARDED_FOR,
    FIELD_X_FORWARDED_HOST,
    FIELD_X_FORWARDED_PROTO,
    FIELD_X_REAL_IP,
    Field,
    Head,
    Span,
)


cdef void put_forwarded_for(Out *o, const Head *h, const RequestHop *hop) noexcept nogil:
    """Write one line: the field's old value, if it is trusted, and the address this hop saw."""
    cdef Span peer = clean(hop.peer)
    cdef const Field *f
    cdef bint any_yet = 0
    cdef int i
    if hop.trusts_forwarded:
        for i in range(h.n_fields):
            f = &h.fields[i]
            if f.id != FIELD_X_FORWARDED_FOR or f.nominated or f.value_len == 0:
                continue
            put_word(o, b", " if any_yet else b"X-Forwarded-For: ")
            put_span(o, value_span(h, f))
            any_yet = 1
    if peer.len:
        put_word(o, b", " if any_yet else b"X-Forwarded-For: ")
        put_span(o, peer)
        any_yet = 1
    if any_yet:
        put_word(o, b"\r\n")


cdef Span trusted_value(const Head *h, const RequestHop *hop, uint8_t k, Span ours) noexcept nogil:
    """The first trusted value of field `k`, else ours."""
    cdef const Field *f
    cdef int i
    if hop.trusts_forwarded:
        for i in range(h.n_fields):
            f = &h.fields[i]
            if f.id == k and not f.nominated and f.value_len:
                return value_span(h, f)
    return ours


cdef bint may_extend_forwarded(const Head *h) noexcept nogil:
    """True if there is a Forwarded, and all of it is well formed: a quote that is left open would
    swallow the element behind it."""
    cdef const Field *f
    cdef bint any_yet = 0
    cdef int i
    for i in range(h.n_fields):
        f = &h.fields[i]
        if f.id == FIELD_FORWARDED and not f.nominated:
            if not is_forwarded(<Cursor>h.base + f.value_at, f.value_len):
                return 0
            any_yet = 1
    return any_yet


cdef void put_forwarded(Out *o, const Head *h, const RequestHop *hop, Span peer) noexcept nogil:
    """Write one line of the caller's Forwarded (RFC 7239), with an element of this hop."""
    cdef bint is_ip6 = peer.len and memchr(peer.at, c':', peer.len) != NULL
    cdef Span host = requested_host(h)
    cdef const Field *f
    cdef int i
    put_word(o, b"Forwarded: ")
    for i in range(h.n_fields):
        f = &h.fields[i]
        if f.id == FIELD_FORWARDED and not f.nominated and f.value_len:
            put_span(o, value_span(h, f))
            put_word(o, b", ")
    put_word(o, b'for="[' if is_ip6 else b"for=")
    put_word(o, b"" if peer.len else b"unknown")
    put_span(o, peer)
    put_word(o, b']";proto=' if is_ip6 else b";proto=")
    put_span(o, clean(hop.proto))
    if host.len:
        put_word(o, b';host="')
        put_span(o, host)
        put_word(o, b'"')
    put_word(o, b"\r\n")


cdef void put_trusted(Out *o, const Head *h, const RequestHop *hop) noexcept nogil:
    """Write Forwarded and X-Real-IP of a caller that is trusted with them."""
    cdef const Field *f
    cdef int i
    if has_field(h, FIELD_FORWARDED) and may_extend_forwarded(h):
        put_forwarded(o, h, hop, clean(hop.peer))
    if not has_field(h, FIELD_X_REAL_IP):
        return
    for i in range(h.n_fields):
        f = &h.fields[i]
        if f.id == FIELD_X_REAL_IP and not f.nominated:
            if is_ip(<Cursor>h.base + f.value_at, f.value_len):
                put_line(o, b"X-Real-IP: ", value_span(h, f))
            return


cdef void put_origin(Out *o, const Head *h, const RequestHop *hop) noexcept nogil:
    put_forwarded_for(o, h, hop)
    put_optional(
        o, b"X-Forwarded-Proto: ", trusted_value(h, hop, FIELD_X_FORWARDED_PROTO, clean(hop.proto))
    )
    put_optional(
        o, b"X-Forwarded-Host: ", trusted_value(h, hop, FIELD_X_FORWARDED_HOST, requested_host(h))
    )
    if hop.trusts_forwarded:
        put_trusted(o, h, hop)
