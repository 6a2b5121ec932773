"""The PROXY protocol, versions 1 and 2, as HAProxy specifies it (doc/proxy-protocol.txt).

Law 1. The verdict is that of the bytes, however they were split. A byte that cannot be of a header
       is a fault at once.
Law 2. Strict: one blank between two words of version 1, addresses and ports as inet_ntop and printf
       write them. Of version 2 every TLV ends within the header; all are passed over.
Law 3. A sender that does not know the caller's address (UNKNOWN, AF_UNSPEC, AF_UNIX) leaves it
       unknown: it is in no network. LOCAL is a conn of the sender's own.
Tests: tests/relay/test_proxy_protocol.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memchr, memcmp, memcpy, memset

from zeroproxy._fast.net.networks cimport address_parse, address_set
from zeroproxy._fast.net.syscalls cimport AF_INET, AF_INET6
from zeroproxy._fast.types.network cimport (
    PROXY_FAULT_ADDRESS,
    PROXY_FAULT_LENGTH,
    PROXY_FAULT_NONE,
    PROXY_FAULT_SIGNATURE,
    PROXY_FAULT_TLV,
    PROXY_FAULT_VERSION,
    Address,
    ProxyHeader,
)

cdef enum:
    LINE_MOST = 107         # of version 1, CRLF included
    TEXT_MOST = 46          # of an address, NUL included
    FIXED = 16              # bytes of version 2 before the addresses
    LOCAL = 0x20
    PROXY = 0x21
    TCP4 = 0x11
    TCP6 = 0x21
    UNIX_STREAM = 0x31
    UNSPEC = 0x00

cdef const char *SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


cdef bint begins_as(const char *at, size_t n, const char *word, size_t len) noexcept nogil:
    """True if the bytes are `word`, or its beginning."""
    return memcmp(at, word, n if n < len else len) == 0

# ---------------------------------------------------------------- version 1


cdef const char *take_word(const char *at, const char *end, char *out, size_t cap) noexcept nogil:
    """Copy the bytes up to a blank or `end`; returns the place behind it, NULL: too long."""
    cdef size_t n = 0
    while at + n < end and at[n] != c' ':
        n += 1
    if n >= cap or memchr(at, 0, n) != NULL:
        return NULL
    memcpy(out, at, n)
    out[n] = 0
    return at + n + 1


cdef bint is_port(const char *text) noexcept nogil:
    cdef uint32_t port = 0
    cdef int n = 0
    while c'0' <= text[n] <= c'9' and n < 6:
        port = port * 10 + <uint32_t>(text[n] - c'0')
        n += 1
    return 0 < n < 6 and text[n] == 0 and port < 65536 and (text[0] != c'0' or n == 1)


cdef int read_addresses(
    const char *at, const char *end, int family, Address *source
) noexcept nogil:
    """The words behind TCP4 or TCP6: both addresses, both ports."""
    cdef char[TEXT_MOST] text
    cdef Address found
    cdef int k
    for k in range(4):
        at = take_word(at, end, text, sizeof(text)) if at != NULL and at <= end else NULL
        if at == NULL or (k < 3) != (at <= end):
            return PROXY_FAULT_ADDRESS
        if not (address_parse(&found, family, text) if k < 2 else is_port(text)):
            return PROXY_FAULT_ADDRESS
        if k == 0:
            source[0] = found
    return PROXY_FAULT_NONE


cdef int parse_line(const char *at, size_t n, ProxyHeader *header) noexcept nogil:
    cdef size_t most = n if n < LINE_MOST else LINE_MOST
    cdef const char *end = <const char *>memchr(at, c'\n', most)
    if end == NULL:
        return PROXY_FAULT_LENGTH if n >= LINE_MOST else PROXY_MORE
    header.size = <uint32_t>(end - at) + 1
    end -= 1
    if end[0] != c'\r':
        return PROXY_FAULT_SIGNATURE
    if end - at >= 13 and memcmp(at + 6, b"UNKNOWN", 7) == 0 and (end - at == 13 or at[13] == c' '):
        return PROXY_FAULT_NONE
    if end - at > 11 and memcmp(at + 6, b"TCP4 ", 5) == 0:
        return read_addresses(at + 11, end, AF_INET, &header.source)
    if end - at > 11 and memcmp(at + 6, b"TCP6 ", 5) == 0:
        return read_addresses(at + 11, end, AF_INET6, &header.source)
    return PROXY_FAULT_ADDRESS

# ---------------------------------------------------------------- version 2


cdef int check_tlvs(const uint8_t *at, size_t n) noexcept nogil:
    cdef size_t len
    while n:
        len = 3 + (<size_t>at[1] << 8 | at[2]) if n >= 3 else n + 1
        if len > n:
            return PROXY_FAULT_TLV
        at += len
        n -= len
    return PROXY_FAULT_NONE


cdef int parse_binary(const uint8_t *at, size_t n, ProxyHeader *header) noexcept nogil:
    cdef size_t len, addresses
    if n < FIXED:
        return PROXY_MORE
    if at[12] != LOCAL and at[12] != PROXY:
        return PROXY_FAULT_VERSION
    len = <size_t>at[14] << 8 | at[15]
    if FIXED + len > PROXY_MOST:
        return PROXY_FAULT_LENGTH
    if n < FIXED + len:
        return PROXY_MORE
    header.size = <uint32_t>(FIXED + len)
    header.is_local = at[12] == LOCAL
    if header.is_local or at[13] == UNSPEC:
        return PROXY_FAULT_NONE
    addresses = 12 if at[13] == TCP4 else 36 if at[13] == TCP6 else 216
    if len < addresses or (at[13] != TCP4 and at[13] != TCP6 and at[13] != UNIX_STREAM):
        return PROXY_FAULT_ADDRESS
    if at[13] != UNIX_STREAM:
        address_set(&header.source, AF_INET if at[13] == TCP4 else AF_INET6, at + FIXED)
    return check_tlvs(at + FIXED + addresses, len - addresses)


cdef int proxy_parse(const char *at, size_t n, ProxyHeader *header) noexcept nogil:
    memset(header, 0, sizeof(ProxyHeader))
    if begins_as(at, n, b"PROXY ", 6):
        return parse_line(at, n, header) if n > 6 else PROXY_MORE
    if begins_as(at, n, SIGNATURE, 12):
        return parse_binary(<const uint8_t *>at, n, header)
    return PROXY_FAULT_SIGNATURE
