"""Keys of callers that show a certificate and no key.

Law 1. A name is in the table as the digest of a NUL, "certificate", a NUL and the name. No header
       field holds a NUL, so no text that a caller sends as a key has that digest.
Law 2. The digest that a key had is kept with the conn: the certificate is read once, unless a
       reload takes that key away.
Tests: tests/relay/test_certificate_keys.py.
"""

from libc.stddef cimport size_t
from libc.string cimport memcpy

from zeroproxy._fast.net.peer_certificate cimport NAME_MOST, peer_name
from zeroproxy._fast.tenants.keys_and_quotas cimport key_at, sha256
from zeroproxy._fast.types.key_and_quota cimport ApiKey, ApiKeyTable
from zeroproxy._fast.types.plane cimport Conn
from zeroproxy._fast.types.tls cimport Tls

cdef enum:
    NAMES_MAX = 32          # of one certificate that are looked at
    PREFIX = 13

cdef const char *BEFORE = b"\0certificate\0"


cdef ApiKey *certificate_key(const ApiKeyTable *keys, Conn *c) noexcept nogil:
    cdef Tls *t = <Tls *>c.tls
    cdef char[PREFIX + NAME_MOST] text
    cdef ApiKey *key
    cdef ssize_t n
    cdef int k
    if t.has_identity:
        key = key_at(keys, t.identity)
        if key != NULL:
            return key
    memcpy(text, BEFORE, PREFIX)
    for k in range(NAMES_MAX):
        n = peer_name(c, keys.identity, k, text + PREFIX)
        if n < 0:
            break
        if n == 0:
            continue
        sha256(text, <size_t>(PREFIX + n), t.identity)
        key = key_at(keys, t.identity)
        if key != NULL:
            t.has_identity = 1
            return key
    t.has_identity = 0
    return NULL
