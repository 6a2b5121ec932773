# API keys and their quotas. No code; the laws of http.pxd hold here too.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from zeroproxy._fast.types.key_terms cimport SALT_BY_COUNT, SALT_LEN, TERM_COUNT, KeyTerms
from zeroproxy._fast.types.model_name cimport MODEL_MAX
from zeroproxy._fast.types.network cimport Networks

cdef enum:
    DIGEST = 32             # bytes of a SHA-256
    KEY_MAX = 512           # bytes of a key; a longer one is unknown without being hashed


cdef enum QuotaOf:
    QUOTA_REQUESTS = 0
    QUOTA_TOKENS
    QUOTA_COUNT             # always last


cdef enum Identity:         # the part of a caller's certificate that names a key
    IDENTITY_NONE = 0
    IDENTITY_CN             # of the subject
    IDENTITY_SAN_DNS
    IDENTITY_SAN_URI
    IDENTITY_COUNT          # always last


cdef struct Quota:          # a bucket; its content may be spent, a debt is paid first
    double rate             # per minute, as configured; 0: there is no quota
    double speed            # flow into the bucket per minute: rate, or a share of it
    double cap              # the most that the bucket holds
    double level
    double reserved         # of tokens: the most that running exchanges may cost
    uint64_t filled_ns
    uint64_t used           # taken since the start
    uint64_t n_refused
    uint8_t is_leased       # nothing flows in by itself: the level is the grant


cdef struct AllowedModel:
    uint16_t len
    char[MODEL_MAX] name


cdef struct ApiKey:         # a slot means one digest for ever; never moved, freed with the plane
    uint8_t[DIGEST] digest
    uint32_t index          # in ApiKeyTable.all
    uint32_t mean           # tokens of one of its exchanges, smoothed; 0: none has ended
    uint16_t tenant
    uint8_t priority
    uint8_t in_force
    uint8_t was_used        # since the quotas were last read
    uint8_t passes_all      # the surface does not hold for it
    uint32_t n_models       # 0: all are allowed
    AllowedModel *models    # owned
    Networks allowed        # owned; without any: callers from everywhere
    Quota[QUOTA_COUNT] quotas
    KeyTerms terms
    uint32_t inflight       # exchanges that hold a place (terms.max_inflight)
    void *waiting           # owned, a plane.RelayFifo: those that wait for one
    uint64_t[TERM_COUNT] n_refused
    uint8_t has_salts
    char[SALT_BY_COUNT][SALT_LEN] salts     # by SaltBy; that of SALT_BY_NONE is not used


cdef struct ApiKeyTable:
    uint8_t is_on           # 0: no key is required
    uint8_t shows_limits    # answers carry what is left of the key's quotas
    uint8_t reads_salts     # an upstream sets cache_salt: a caller's own is looked for
    uint8_t forwards        # a caller's key travels on to upstreams that have none of their own
    uint8_t identity        # Identity
    uint32_t mask           # of table: a power of two minus one
    ApiKey **table          # owned: those in force, from the place that their digest gives
    ApiKey **all            # owned, and its elements: all there ever were
    uint32_t n_all
    uint32_t n_tenants      # indices in use lie below; the tables by tenant are as long
    uint32_t mean           # ApiKey.mean of them all
    uint64_t n_unknown      # requests without a key that is in force
