"""Addresses of callers, and the networks that have them.

Law 1. An IPv4 address mapped into IPv6 (::ffff:a.b.c.d) is the IPv4 address. A network of IPv6 has
       no IPv4 address, ::/0 neither.
Law 2. An address that is not known is in no network.
Tests: tests/relay/test_networks.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp, memcpy, memset, strlen

from zeroproxy._fast.net.syscalls cimport (
    AF_INET,
    AF_INET6,
    inet_ntop,
    inet_pton,
    sockaddr_in,
    sockaddr_in6,
    sockaddr_storage,
)
from zeroproxy._fast.types.network cimport ADDRESS_IP, ADDRESS_UNIX, Address, Network, Networks

cdef const char *MAPPED = b"\0\0\0\0\0\0\0\0\0\0\xff\xff"


cdef inline bint is_ip4(const Address *a) noexcept nogil:
    return memcmp(a.ip, MAPPED, 12) == 0


cdef void address_set(Address *a, int family, const void *ip) noexcept nogil:
    a.kind = ADDRESS_IP
    if family == AF_INET:
        memcpy(a.ip, MAPPED, 12)
        memcpy(a.ip + 12, ip, 4)
    else:
        memcpy(a.ip, ip, 16)


cdef void address_read(Address *a, const sockaddr_storage *from_) noexcept nogil:
    memset(a, 0, sizeof(Address))
    if from_.ss_family == AF_INET:
        address_set(a, AF_INET, &(<const sockaddr_in *>from_).sin_addr)
    elif from_.ss_family == AF_INET6:
        address_set(a, AF_INET6, &(<const sockaddr_in6 *>from_).sin6_addr)
    else:
        a.kind = ADDRESS_UNIX


cdef bint address_parse(Address *a, int family, const char *text) noexcept nogil:
    cdef uint8_t[16] ip
    if inet_pton(family, text, ip) != 1:
        return 0
    address_set(a, family, ip)
    return 1


cdef size_t address_text(const Address *a, char *out, size_t cap) noexcept nogil:
    cdef const char *text
    if a.kind != ADDRESS_IP:
        return 0
    if is_ip4(a):
        text = inet_ntop(AF_INET, a.ip + 12, out, <uint32_t>cap)
    else:
        text = inet_ntop(AF_INET6, a.ip, out, <uint32_t>cap)
    return strlen(text) if text != NULL else 0


cdef bint begins_alike(const uint8_t *a, const uint8_t *b, int bits) noexcept nogil:
    cdef int whole = bits >> 3, rest = bits & 7
    if memcmp(a, b, whole):
        return 0
    return rest == 0 or (a[whole] ^ b[whole]) >> (8 - rest) == 0


cdef bint networks_have(const Networks *t, const Address *a) noexcept nogil:
    cdef const Network *n
    cdef uint32_t i
    for i in range(t.n):
        n = &t.at[i]
        if n.is_unix:
            if a.kind == ADDRESS_UNIX:
                return 1
        elif a.kind == ADDRESS_IP and n.is_ip4 == is_ip4(a) and begins_alike(a.ip, n.ip, n.bits):
            return 1
    return 0
