from libc.stddef cimport size_t

from zeroproxy._fast.net.syscalls cimport sockaddr_storage
from zeroproxy._fast.types.network cimport Address, Networks

# Read the address of a peer; anything but IP is ADDRESS_UNIX.
cdef void address_read(Address *a, const sockaddr_storage *from_) noexcept nogil
# Read IPv4 or IPv6 as text with a NUL behind it. 0: it is none.
cdef bint address_parse(Address *a, int family, const char *text) noexcept nogil
# Set four or sixteen bytes as they travel.
cdef void address_set(Address *a, int family, const void *ip) noexcept nogil
# Write the text of an IP address, IPv4 where it is mapped; returns its length, 0: it has none.
cdef size_t address_text(const Address *a, char *out, size_t cap) noexcept nogil
# Return 1 if one of the networks has the address. Without networks there is none.
cdef bint networks_have(const Networks *t, const Address *a) noexcept nogil
