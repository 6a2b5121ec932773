"""Ids of exchanges: X-Request-Id (32 hex digits) and traceparent (W3C trace context).

Unique, not secret: a 128-bit state from the kernel's entropy, stepped by xorshift128+. Nothing may
use these as credentials.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from zeroproxy._fast.exchange.exchange_ids cimport REQUEST_ID_LEN, TRACEPARENT_LEN
from zeroproxy._fast.http1.field_lines cimport find_traceparent, nominate
from zeroproxy._fast.http1.grammar cimport hex_of
from zeroproxy._fast.types.http cimport FIELD_TRACEPARENT, Head, Span
from zeroproxy._fast.types.plane cimport Plane, Relay


cdef extern from "<sys/random.h>" nogil:
    ssize_t getrandom(void *buf, size_t n, unsigned int flags)


cdef const char *HEX = b"0123456789abcdef"


cdef int seed_ids(Plane *p) noexcept nogil:
    if getrandom(p.id_seed, sizeof(p.id_seed), 0) != sizeof(p.id_seed):
        return -1
    p.id_seed[0] |= 1
    return 0


cdef uint64_t next_word(Plane *p) noexcept nogil:
    cdef uint64_t a = p.id_seed[0]
    cdef uint64_t b = p.id_seed[1]
    p.id_seed[0] = b
    a ^= a << 23
    p.id_seed[1] = a ^ b ^ (a >> 18) ^ (b >> 5)
    return p.id_seed[1] + b


cdef inline void put_four(const char *at, char *out) noexcept nogil:
    """Write the eight digits of four bytes, all at once."""
    cdef uint64_t ones = 0x0101010101010101
    cdef uint64_t w
    cdef uint32_t four
    memcpy(&four, at, 4)
    w = (four | <uint64_t>four << 16) & <uint64_t>0x0000FFFF0000FFFF
    w = (w | w << 8) & <uint64_t>0x00FF00FF00FF00FF
    w = (w >> 4 | w << 8) & ones * 15
    # Nothing carries over; from ten on a nibble and 6 pass 15, and the letters follow.
    w += ones * c'0' + ((w + ones * 6) >> 4 & ones) * (c'a' - c'9' - 1)
    memcpy(out, &w, 8)


cdef void put_hex(const char *at, size_t n, char *out) noexcept nogil:
    """Write the digits of `n` bytes, a multiple of four."""
    cdef size_t k
    for k in range(0, n, 4):
        put_four(at + k, out + 2 * k)


cdef size_t make_request_id(Plane *p, char *out) noexcept nogil:
    cdef uint64_t[2] random
    random[0] = next_word(p)
    random[1] = next_word(p)
    put_hex(<const char *>random, 16, out)
    return REQUEST_ID_LEN


# ---------------------------------------------------------------- traces


cdef void read_hex(const char *at, size_t n, char *out) noexcept nogil:
    """Read `n` bytes from 2 * n digits that were checked before."""
    cdef size_t k
    for k in range(n):
        out[k] = <char>(hex_of(at[2 * k]) << 4 | hex_of(at[2 * k + 1]))


cdef void make_bytes(Plane *p, char *out) noexcept nogil:
    """Write eight random bytes that are not all zero."""
    cdef uint64_t word = next_word(p) | 1
    memcpy(out, &word, 8)


cdef void begin_trace(Plane *p, Relay *r) noexcept nogil:
    """Start a trace. It is sampled only if the proxy makes spans, by the bytes that OpenTelemetry's
    TraceIdRatioBased uses."""
    cdef uint64_t low = 0
    cdef int k
    make_bytes(p, r.x.trace)
    make_bytes(p, r.x.trace + 8)
    for k in range(8):
        low = low << 8 | <unsigned char>r.x.trace[8 + k]
    r.x.trace_flags = p.makes_spans and low < p.sample_below


cdef size_t adopt_trace(Plane *p, Relay *r, Head *h, char *out) noexcept nogil:
    """The caller's traceparent is passed on unless the proxy makes spans: then the proxy's span
    stands between the caller's and the server's."""
    cdef Span trace = find_traceparent(h)
    cdef char flags = 0
    if trace.len:
        read_hex(trace.at + 3, 16, r.x.trace)
        read_hex(trace.at + 36, 8, r.x.parent)
        read_hex(trace.at + 53, 1, &flags)
        r.x.trace_flags = <uint8_t>flags
        r.x.has_parent = 1
    else:
        begin_trace(p, r)
    if trace.len and not p.makes_spans:
        return 0
    make_bytes(p, r.x.span)
    nominate(h, FIELD_TRACEPARENT)
    memcpy(out, b"00-", 3)
    put_hex(r.x.trace, 16, out + 3)
    out[35] = c'-'
    put_hex(r.x.span, 8, out + 36)
    out[52] = c'-'
    out[53] = HEX[r.x.trace_flags >> 4]
    out[54] = HEX[r.x.trace_flags & 15]
    return TRACEPARENT_LEN
