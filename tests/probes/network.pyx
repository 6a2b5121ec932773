"""Python access to the parser of the PROXY protocol, for tests only."""

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from zeroproxy._fast.net.networks cimport address_text
from zeroproxy._fast.net.proxy_protocol cimport PROXY_MORE, PROXY_MOST, proxy_parse
from zeroproxy._fast.types.network cimport ProxyHeader

MORE = PROXY_MORE
MOST = PROXY_MOST


def parse(bytes data):
    """(fault, size, is_local, address) of a header; the bytes end where their block ends."""
    cdef ProxyHeader header
    cdef char[64] text
    cdef size_t n = len(data)
    cdef char *exact = <char *>malloc(n if n else 1)
    cdef int fault
    if exact == NULL:
        raise MemoryError
    memcpy(exact, <const char *>data, n)
    fault = proxy_parse(exact, n, &header)
    free(exact)
    n = address_text(&header.source, text, sizeof(text))
    return fault, header.size, bool(header.is_local), text[:n].decode()
