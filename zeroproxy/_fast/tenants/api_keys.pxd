from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from zeroproxy._fast.types.api_key cimport ApiKey, ApiKeyTable, Quota
from zeroproxy._fast.types.model cimport ModelName

cdef void sha256(const char *at, size_t len, uint8_t *out) noexcept nogil
cdef ApiKey *key_find(const ApiKeyTable *ring, const char *at, size_t len) noexcept nogil
cdef uint32_t key_place(const uint8_t *digest) noexcept nogil
cdef bint key_allows(const ApiKey *k, const ModelName *model) noexcept nogil
cdef int quota_reserve(
    const ApiKeyTable *ring, ApiKey *k, uint64_t bytes, uint64_t now_ns, uint32_t *reserved
) noexcept nogil
cdef bint key_raise(ApiKey *k, uint64_t tokens, uint64_t now_ns, uint32_t *reserved) noexcept nogil
cdef void quota_settle(
    ApiKeyTable *ring, ApiKey *k, uint32_t reserved, int64_t tokens, uint64_t now_ns
) noexcept nogil
cdef int quota_wait(const ApiKey *k, int which) noexcept nogil
cdef void quota_fill(Quota *q, uint64_t now_ns) noexcept nogil
cdef void quota_begin(Quota *q, double rate, uint64_t now_ns) noexcept nogil
cdef void quota_share(Quota *q, double speed, double cap, uint64_t now_ns) noexcept nogil
cdef void quota_grant(Quota *q, double speed, double level, uint64_t used) noexcept nogil
