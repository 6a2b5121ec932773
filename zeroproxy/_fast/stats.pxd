from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from zeroproxy._fast.model_types cimport MODEL_MAX
from zeroproxy._fast.plane cimport Histogram, Record
from zeroproxy._fast.types cimport EXACTNESS_COUNT

cdef enum:
    SERIES_SIZE = 1024      # a power of two; a quarter stays free, so probing ends
    SERIES_CAP = 768
    TOKEN_SERIES_CAP = 256
    ALL_OTHERS = 0xFFFF     # the label of what came after a cap was reached
    SPILL_CAP = 256
    SPILL_NAMED = SPILL_CAP - EXACTNESS_COUNT   # the rows behind these take what has no row
    BUCKETS = 24            # of a Histogram; the last one is +Inf


cdef struct Series:         # requests_total
    uint64_t count          # 0: free
    uint16_t upstream
    uint16_t endpoint
    uint16_t status
    uint8_t blame
    uint8_t phase
    uint8_t cause


cdef struct TokenSeries:    # tokens_total
    uint16_t upstream
    uint16_t tenant
    uint16_t model_len
    char model[MODEL_MAX]
    uint64_t prompt
    uint64_t completion
    uint64_t cached
    uint64_t reasoning


cdef struct Spill:          # what did not fit the ring, of one kind; only ever grows
    uint64_t count          # 0: free; written last
    uint64_t prompt
    uint64_t completion
    uint64_t cached
    uint64_t reasoning
    uint64_t bytes_in
    uint64_t bytes_out
    uint16_t upstream
    uint16_t endpoint
    uint16_t tenant
    uint8_t exactness
    uint16_t model_len
    char[MODEL_MAX] model


cdef struct Stats:
    uint32_t n_series
    uint32_t n_tokens
    uint64_t n_overflow     # exchanges that found the table full: the series "other"
    Series[SERIES_SIZE] series
    TokenSeries[TOKEN_SERIES_CAP] tokens
    uint64_t n_spills       # rows of spills in use; read by the flusher's thread
    Spill[SPILL_CAP] spills

cdef void stats_count(Stats *s, const Record *record) noexcept nogil
cdef bint stats_knows(const Stats *s, const Record *record) noexcept nogil
cdef void stats_spill(Stats *s, const Record *record) noexcept nogil
cdef uint64_t stats_spills(const Stats *s) noexcept nogil
cdef void stats_read_spill(const Stats *s, uint64_t row, Spill *out) noexcept nogil
cdef void histogram_add(Histogram *h, uint64_t ns) noexcept nogil
cdef uint64_t histogram_bound(int bucket) noexcept nogil
