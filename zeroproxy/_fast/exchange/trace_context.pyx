"""Names for exchanges: X-Request-Id (32 hex digits) and traceparent (W3C trace context).

Unique, not secret: a 128-bit state from the kernel's entropy, stepped by xorshift128+. Nothing may
use these as credentials.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from zeroproxy._fast.exchange.trace_context cimport REQUEST_ID_LEN, TRACEPARENT_LEN
from zeroproxy._fast.http1.fields cimport find_traceparent
from zeroproxy._fast.http1.grammar cimport hex_of
from zeroproxy._fast.types.http cimport FIELD_TRACEPARENT, Head, Span
from zeroproxy._fast.types.plane cimport Plane, Relay


cdef extern from "<sys/random.h>" nogil:
    ssize_t getrandom(void *buf, size_t n, unsigned int flags)


cdef const char *HEX = b"0123456789abcdef"


cdef int trace_context_init(Plane *p) noexcept nogil:
    """Seed the generator; -1: the kernel gave no entropy."""
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


cdef void write_hex(uint64_t word, char *out) noexcept nogil:
    cdef int i
    for i in range(16):
        out[i] = HEX[word >> (60 - 4 * i) & 15]


cdef size_t make_request_id(Plane *p, char *out) noexcept nogil:
    write_hex(next_word(p), out)
    write_hex(next_word(p), out + 16)
    return REQUEST_ID_LEN


# ---------------------------------------------------------------- traces


cdef void read_hex(const char *at, size_t n, char *out) noexcept nogil:
    """`n` bytes from 2 * n digits that were checked before."""
    cdef size_t k
    for k in range(n):
        out[k] = <char>(hex_of(at[2 * k]) << 4 | hex_of(at[2 * k + 1]))


cdef void put_hex(const char *at, size_t n, char *out) noexcept nogil:
    cdef size_t k
    for k in range(n):
        out[2 * k] = HEX[<unsigned char>at[k] >> 4]
        out[2 * k + 1] = HEX[at[k] & 15]


cdef void make_bytes(Plane *p, char *out) noexcept nogil:
    """Eight random bytes that are not all zero."""
    cdef uint64_t word = next_word(p) | 1
    memcpy(out, &word, 8)


cdef void begin_trace(Plane *p, Relay *r) noexcept nogil:
    """No trace came along: one begins here. Not sampled, unless we make spans and chance says so
    (OpenTelemetry's TraceIdRatioBased looks at the same bytes)."""
    cdef uint64_t low = 0
    cdef int k
    make_bytes(p, r.x.trace)
    make_bytes(p, r.x.trace + 8)
    for k in range(8):
        low = low << 8 | <unsigned char>r.x.trace[8 + k]
    r.x.trace_flags = p.makes_spans and low < p.sample_below


cdef size_t adopt_trace(Plane *p, Relay *r, Head *h, char *out) noexcept nogil:
    """The exchange's place in a trace (W3C Trace Context), and in `out` the traceparent to send if
    the caller's is not passed on. The caller's is, unless we make spans: then ours stands between
    his and the server's."""
    cdef Span trace = find_traceparent(h)
    cdef char flags = 0
    cdef int k
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
    for k in range(h.n_fields):
        if h.fields[k].id == FIELD_TRACEPARENT:
            h.fields[k].nominated = 1
    flags = <char>r.x.trace_flags
    memcpy(out, b"00-", 3)
    put_hex(r.x.trace, 16, out + 3)
    out[35] = c'-'
    put_hex(r.x.span, 8, out + 36)
    out[52] = c'-'
    put_hex(&flags, 1, out + 53)
    return TRACEPARENT_LEN
