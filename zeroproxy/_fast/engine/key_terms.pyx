"""Terms of an API key in the configuration, as the C struct that the data plane reads.

Tests: tests/relay/test_key_terms.py, tests/relay/test_engine_api.py.
"""

import base64
import hashlib
import hmac
from datetime import datetime, timedelta, timezone

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from zeroproxy._fast.engine.values cimport COUNT_BITS, choice, demand_type, flag, whole
from zeroproxy._fast.types.key_terms cimport SALT_BY_KEY, SALT_BY_TENANT, SALT_LEN, KeyTerms

cdef uint64_t COUNT_MOST = <uint64_t>1 << COUNT_BITS
cdef uint64_t TOKENS_MOST = 0x7FFFFFFF
cdef uint64_t N_MOST = 0xFFFF

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
#: The clock of the data plane ends in 2554.
NEVER = datetime(2500, 1, 1, tzinfo=timezone.utc)


cdef uint64_t wall_ns(object expires) except? 0:
    demand_type(expires, "key.expires", datetime)
    if expires.tzinfo is None:
        raise ValueError("key.expires: a time without its offset from UTC")
    if expires >= NEVER:
        return 0
    # 0 would be never.
    return max((expires - EPOCH) // timedelta(microseconds=1), 1) * 1000


cdef int read_upstreams(KeyTerms *t, upstreams, list names) except -1:
    cdef uint32_t n = 0
    demand_type(upstreams, "key.upstreams", tuple)
    for name in upstreams:
        if name not in names:
            raise ValueError(f"key.upstreams: no upstream is called {name!r}")
    if upstreams:
        t.upstreams = <uint32_t *>calloc(len(upstreams), sizeof(uint32_t))
        if t.upstreams == NULL:
            raise MemoryError
    for name in upstreams:
        t.upstreams[n] = <uint32_t>names.index(name)
        n += 1
    t.n_upstreams = n
    return 0


cdef int terms_read(KeyTerms *t, key, list upstreams) except -1:
    t.is_disabled = flag(key.disabled, "key.disabled")
    t.expires_ns = wall_ns(key.expires)
    t.max_inflight = <uint32_t>whole(key.max_inflight, "key.max_inflight", 0, TOKENS_MOST)
    t.waits = choice(key.over_inflight, "key.over_inflight", ("refuse", "wait"))
    t.prompt_bytes = whole(key.prompt_bytes, "key.prompt_bytes", 0, COUNT_MOST)
    t.n = <uint32_t>whole(key.n, "key.n", 0, N_MOST)
    t.caps_to_model = key.max_tokens == "model"
    if not t.caps_to_model:
        t.max_tokens = <uint32_t>whole(key.max_tokens, "key.max_tokens", 0, TOKENS_MOST)
    t.max_tokens_default = <uint32_t>whole(
        key.max_tokens_default, "key.max_tokens_default", 0, TOKENS_MOST
    )
    return read_upstreams(t, key.upstreams, upstreams)


cdef bint terms_are_equal(const KeyTerms *a, const KeyTerms *b) noexcept nogil:
    return (
        a.is_disabled == b.is_disabled and a.expires_ns == b.expires_ns
        and a.max_inflight == b.max_inflight and a.waits == b.waits
        and a.prompt_bytes == b.prompt_bytes and a.n == b.n and a.max_tokens == b.max_tokens
        and a.caps_to_model == b.caps_to_model and a.max_tokens_default == b.max_tokens_default
        and a.n_upstreams == b.n_upstreams
        and (a.n_upstreams == 0
             or memcmp(a.upstreams, b.upstreams, a.n_upstreams * sizeof(uint32_t)) == 0)
    )


cdef void terms_free(KeyTerms *t) noexcept nogil:
    free(t.upstreams)
    t.upstreams = NULL


cdef int write_salt(char *out, bytes secret, bytes whose) except -1:
    cdef bytes salt = base64.urlsafe_b64encode(hmac.new(secret, whose, hashlib.sha256).digest())
    memcpy(out, <const char *>salt, SALT_LEN)
    return 0


cdef int salts_write(char (*salts)[SALT_LEN], bytes secret, key) except -1:
    write_salt(salts[<int>SALT_BY_TENANT], secret, b"tenant:" + key.owner().encode())
    write_salt(salts[<int>SALT_BY_KEY], secret, b"key:" + bytes.fromhex(key.digest()))
    return 0
