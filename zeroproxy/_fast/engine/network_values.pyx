"""Networks of the configuration as C structs.

Tests: tests/relay/test_networks.py.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc
from libc.string cimport memcpy

from zeroproxy._fast.engine.values cimport demand_type
from zeroproxy._fast.types.network cimport Network, Networks

from zeroproxy.config.networks import UNIX, parse_network


cdef int read_network(Network *n, str text, str key) except -1:
    cdef bytes ip
    n.is_unix = text == UNIX
    if n.is_unix:
        return 0
    try:
        found = parse_network(text)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
    n.is_ip4 = found.version == 4
    ip = found.network_address.packed
    if n.is_ip4:
        ip = b"\0" * 10 + b"\xff\xff" + ip
    memcpy(n.ip, <const char *>ip, 16)
    n.bits = <uint8_t>(found.prefixlen + (96 if n.is_ip4 else 0))
    return 0


cdef int read_networks(Networks *t, texts, str key) except -1:
    cdef uint32_t n = 0
    demand_type(texts, key, tuple)
    t.n = 0
    t.at = NULL
    if not texts:
        return 0
    t.at = <Network *>calloc(len(texts), sizeof(Network))
    if t.at == NULL:
        raise MemoryError
    for text in texts:
        demand_type(text, key, str)
        read_network(&t.at[n], text, key)
        n += 1
    t.n = n
    return 0
