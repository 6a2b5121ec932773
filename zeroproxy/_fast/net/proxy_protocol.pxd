from libc.stddef cimport size_t

from zeroproxy._fast.types.network cimport ProxyHeader

cdef enum:
    PROXY_MOST = 4096       # bytes of a header with its TLVs; HAProxy sends some hundred
    PROXY_MORE = -1

# Read a header of the PROXY protocol, version 1 or 2, from its first bytes. PROXY_FAULT_NONE: it is
# whole, `header` is set; PROXY_MORE: it may become one; else its ProxyFault.
cdef int proxy_parse(const char *at, size_t n, ProxyHeader *header) noexcept nogil
