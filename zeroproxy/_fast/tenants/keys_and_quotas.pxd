from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from zeroproxy._fast.types.key_and_quota cimport ApiKey, ApiKeyTable, Quota
from zeroproxy._fast.types.model_name cimport ModelName

# Write the DIGEST bytes of a text's SHA-256 to `out`.
cdef void sha256(const char *at, size_t len, uint8_t *out) noexcept nogil
# Find the key in force whose text this is; borrowed, valid as long as the plane. NULL: none.
cdef ApiKey *key_find(const ApiKeyTable *keys, const char *at, size_t len) noexcept nogil
# Find the key in force with this digest; borrowed, as that of key_find.
cdef ApiKey *key_at(const ApiKeyTable *keys, const uint8_t *digest) noexcept nogil
# Return where in the table the search for a digest starts; to be masked.
cdef uint32_t key_place(const uint8_t *digest) noexcept nogil
# Return 1 if the key may use the model; without a list it may use all.
cdef bint key_allows(const ApiKey *k, const ModelName *model) noexcept nogil
# Admit one request with a body of `bytes`: QUOTA_COUNT, or the quota that is exhausted.
# quota_settle takes `reserved` when the exchange ends.
cdef int quota_reserve(
    const ApiKeyTable *keys, ApiKey *k, uint64_t bytes, uint64_t now_ns, uint32_t *reserved
) noexcept nogil
# Raise a reservation to `tokens`, once the body was read. 0: the quota is exhausted.
cdef bint quota_raise(
    ApiKey *k, uint64_t tokens, uint64_t now_ns, uint32_t *reserved,
) noexcept nogil
# Return what an exchange had reserved, and charge the `tokens` it cost.
cdef void quota_settle(
    ApiKeyTable *keys, ApiKey *k, uint32_t reserved, int64_t tokens, uint64_t now_ns
) noexcept nogil
# Return the whole seconds until this quota admits a request, if no other one takes from it.
cdef int quota_wait(const ApiKey *k, int which) noexcept nogil
# Bring the level of a quota that fills by itself up to date.
cdef void quota_fill(Quota *q, uint64_t now_ns) noexcept nogil
# Set the rate per minute from now on; the level stays, as far as the new rate holds it.
cdef void quota_begin(Quota *q, double rate, uint64_t now_ns) noexcept nogil
# Let the quota fill by itself: `speed` a minute, up to `cap`.
cdef void quota_share(Quota *q, double speed, double cap, uint64_t now_ns) noexcept nogil
# Set the level to what was granted when `used` was all that had been taken; nothing flows in.
cdef void quota_grant(Quota *q, double speed, double level, uint64_t used) noexcept nogil
# Set the level of a quota that fills by itself, between its largest debt and its cap.
cdef void quota_restore(Quota *q, double level, uint64_t now_ns) noexcept nogil
