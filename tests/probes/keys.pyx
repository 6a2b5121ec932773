"""Python access to keys and quotas, for tests only."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from zeroproxy._fast.tenants.keys_and_quotas cimport (
    quota_begin,
    quota_fill,
    quota_grant,
    quota_reserve,
    quota_settle,
    quota_share,
    quota_wait,
    sha256,
)
from zeroproxy._fast.tenants.token_table cimport token_tag
from zeroproxy._fast.types.key_and_quota cimport (
    DIGEST,
    QUOTA_COUNT,
    QUOTA_REQUESTS,
    QUOTA_TOKENS,
    ApiKey,
    ApiKeyTable,
)
from zeroproxy._fast.types.token cimport TAG, TokenTable


def digest_of(bytes text):
    cdef uint8_t[DIGEST] digest
    sha256(text, len(text), digest)
    return bytes(digest[:DIGEST])


def siphash(bytes text, bytes secret):
    cdef TokenTable table
    cdef uint8_t[TAG] tag
    memcpy(table.secret, <const char *>secret, sizeof(table.secret))
    token_tag(&table, text, len(text), tag)
    return bytes(tag[:TAG])


cdef class KeyProbe:
    """One key at times the test names (seconds)."""

    cdef ApiKey k
    cdef ApiKeyTable keys
    cdef list reserved      # by exchanges that run, in order

    def __cinit__(self):
        self.reserved = []

    def begin(self, requests, tokens, now):
        quota_begin(&self.k.quotas[<int>QUOTA_REQUESTS], requests, <uint64_t>(now * 1e9))
        quota_begin(&self.k.quotas[<int>QUOTA_TOKENS], tokens, <uint64_t>(now * 1e9))

    def take(self, now, bytes=0):
        """None: admitted; else (the quota, seconds to wait)."""
        cdef uint32_t reserved
        which = quota_reserve(&self.keys, &self.k, bytes, <uint64_t>(now * 1e9), &reserved)
        if which == QUOTA_COUNT:
            self.reserved.append(reserved)
            return None
        return ("requests", "tokens")[which], quota_wait(&self.k, which)

    def charge(self, tokens, now):
        """End the first of the exchanges that run."""
        cdef uint32_t reserved = self.reserved.pop(0) if self.reserved else 0
        quota_settle(&self.keys, &self.k, reserved, tokens, <uint64_t>(now * 1e9))

    def share(self, which, speed, cap, now):
        quota_share(&self.k.quotas[which], speed, cap, <uint64_t>(now * 1e9))

    def grant(self, which, speed, level, used):
        quota_grant(&self.k.quotas[which], speed, level, used)

    def level(self, which, now):
        quota_fill(&self.k.quotas[which], <uint64_t>(now * 1e9))
        return self.k.quotas[which].level

    def used(self, which):
        return self.k.quotas[which].used
