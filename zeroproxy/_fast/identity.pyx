"""Names for exchanges: X-Request-Id (32 hex digits) and traceparent (W3C trace context).

Unique, not secret: a 128-bit state from the kernel's entropy, stepped by xorshift128+. Nothing may
use these as credentials.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from zeroproxy._fast.identity cimport REQUEST_ID_LEN, TRACEPARENT_LEN
from zeroproxy._fast.plane cimport Plane


cdef extern from "<sys/random.h>" nogil:
    ssize_t getrandom(void *buf, size_t n, unsigned int flags)


cdef const char *HEX = b"0123456789abcdef"


cdef int identity_init(Plane *p) noexcept nogil:
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


cdef size_t make_traceparent(Plane *p, char *out) noexcept nogil:
    """version 00, a fresh trace and span, not sampled: whoever samples decides upstream of us."""
    memcpy(out, b"00-", 3)
    write_hex(next_word(p) | 1, out + 3)
    write_hex(next_word(p), out + 19)
    out[35] = c'-'
    write_hex(next_word(p) | 1, out + 36)
    memcpy(out + 52, b"-00", 3)
    return TRACEPARENT_LEN
