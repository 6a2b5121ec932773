from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from zeroproxy._fast.types.histogram cimport Histogram
from zeroproxy._fast.types.model_name cimport MODEL_MAX, Route
from zeroproxy._fast.types.plane cimport Plane
from zeroproxy._fast.types.record cimport Record
from zeroproxy._fast.usage.overflow cimport OverflowTable

cdef enum:
    SERIES_FIRST = 1024     # places for series; a power of two, a quarter stays free
    SERIES_MOST = 65536
    SERIES_EACH = 16        # places for each endpoint in force
    TOKENS_FIRST = 256      # rows of tokens_total
    TOKENS_MOST = 16384
    GUESTS_LEAST = 16       # rows of one tenant for models that are not configured
    GUESTS_MOST = 240       # together, where there are few tenants
    KNOWN_SIZE = 2048       # places for models with counted tokens; half of them stay free
    ALL_OTHERS = 0xFFFF     # an index that stands for none, or for many
    BUCKETS = 24            # of a Histogram; the last one is +Inf


cdef struct Series:         # requests_total
    uint64_t count          # 0: free
    uint16_t upstream
    uint16_t endpoint
    uint16_t status
    uint8_t blame
    uint8_t phase
    uint8_t cause


cdef struct SeriesTable:    # open addressing
    Series *at              # owned
    uint32_t n
    uint32_t mask
    uint32_t shift          # of a 32-bit hash


cdef struct TokenSums:
    uint64_t prompt
    uint64_t completion
    uint64_t cached
    uint64_t reasoning


cdef struct TokenSeries:    # tokens_total
    TokenSums sums
    uint16_t upstream
    uint16_t tenant
    uint16_t model_len
    char[MODEL_MAX] model


cdef struct TenantTotals:   # of models without a row of their own
    TokenSums sums
    uint32_t n_guests


cdef struct TokenTable:
    TokenSeries *rows       # owned
    uint32_t n
    uint32_t cap
    uint32_t *index         # owned; open addressing: 1 + row; 0: free
    uint32_t mask
    TenantTotals *tenants   # owned; by index
    uint32_t n_tenants
    uint32_t guests_each    # rows a tenant may have for models that are not configured


cdef struct Stats:
    uint64_t n_other_series     # exchanges that found the table of series full: "other"
    SeriesTable series
    TokenTable tokens
    const Route *routes     # borrowed: the models that are configured
    uint32_t n_routes
    uint32_t n_known
    uint64_t[KNOWN_SIZE] known  # hashes of the models with counted tokens; 0: free
    OverflowTable overflow


# ---- all totals

# Allocate the tables. -1: no memory; close it all the same.
cdef int stats_init(Stats *s) noexcept nogil
# Free the tables.
cdef void stats_close(Stats *s) noexcept nogil
# Add a record to all totals.
cdef void stats_count(Stats *s, const Record *record) noexcept nogil
# The model of the record is configured, or tokens were counted for it.
cdef bint stats_knows(const Stats *s, const Record *record) noexcept nogil

# ---- requests_total

# Allocate a table for `n` endpoints if there is need; else grown.at is NULL. -1: no memory.
cdef int series_stage(SeriesTable *grown, const SeriesTable *now, uint32_t n) noexcept nogil
# Copy the rows of endpoints that are not gone.
cdef void series_move(SeriesTable *grown, const SeriesTable *now, const Plane *p) noexcept nogil

# ---- tokens_total

# Allocate a table if the present one is too small; else it has no rows. -1: no memory.
cdef int tokens_stage(
    TokenTable *grown, const TokenTable *now, uint32_t n_tenants, uint32_t n_models
) noexcept nogil
# Copy all rows.
cdef void tokens_move(TokenTable *grown, const TokenTable *now) noexcept nogil
# Forget tenants, `gone` by index: their indices mean others from now on.
cdef void tokens_forget(TokenTable *t, const uint8_t *gone) noexcept nogil
# Free the rows.
cdef void tokens_free(TokenTable *t) noexcept nogil

# ---- histograms

# Count a duration.
cdef void histogram_add(Histogram *h, uint64_t ns) noexcept nogil
# Upper bound of a bucket in ns, inclusive; 0 for the last one (+Inf).
cdef uint64_t histogram_bound(int bucket) noexcept nogil
