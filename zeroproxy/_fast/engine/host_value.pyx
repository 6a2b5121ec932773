"""The value of upstream.host.

Tests: tests/relay/test_host.py.
"""

from libc.stdint cimport uint16_t
from libc.stdlib cimport malloc
from libc.string cimport memcpy

from zeroproxy._fast.engine.values cimport encoded
from zeroproxy._fast.http1.field_ids_and_values cimport is_authority
from zeroproxy._fast.http1.grammar cimport Cursor

cdef enum:
    HOST_MOST = 264             # bytes, as Endpoint.authority


cdef int copy_text(char **to, bytes text) except -1:
    to[0] = NULL
    if text:
        to[0] = <char *>malloc(len(text))
        if to[0] == NULL:
            raise MemoryError
        memcpy(to[0], <const char *>text, len(text))
    return 0


cdef bint read_host(host, char **at, uint16_t *n) except -1:
    cdef bytes name = encoded(host, "upstream.host", HOST_MOST)
    if name in (b"caller", b"endpoint"):
        return name == b"endpoint"
    if not is_authority(<Cursor><const char *>name, len(name)):
        raise ValueError("upstream.host: is none of caller, endpoint, HOST and HOST:PORT")
    copy_text(at, name)
    n[0] = <uint16_t>len(name)
    return 1
