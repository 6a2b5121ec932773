from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from zeroproxy._fast.types.model_name cimport MODEL_MAX
from zeroproxy._fast.types.record cimport Record

cdef enum:
    OVERFLOW_NAMED = 1024   # rows that name endpoint and model
    OVERFLOW_SEGMENT = 1024     # rows of a segment
    OVERFLOW_SEGMENTS = 257     # enough for 65,536 tenants with a row of each exactness


cdef struct OverflowSums:   # of one kind; only ever grows
    uint64_t count          # written last
    uint64_t prompt
    uint64_t completion
    uint64_t cached
    uint64_t reasoning
    uint64_t bytes_in
    uint64_t bytes_out


cdef struct OverflowRow:    # totals of records that did not fit the ring, of one kind
    OverflowSums sums
    OverflowSums taken      # the part that the consumer has taken; only the consumer writes it
    uint16_t upstream
    uint16_t endpoint
    uint16_t tenant
    uint8_t exactness
    uint8_t is_rest         # of all the tenant's kinds that have no row of their own
    uint8_t is_free         # its tenant is gone: it is free for another
    uint32_t next_free      # 1 + row
    uint16_t model_len
    char[MODEL_MAX] model


cdef struct OverflowTable:
    uint64_t n              # rows in use; read by the consumer
    uint64_t total          # records added; read by the consumer
    uint64_t seen           # of them: taken; the consumer's
    uint32_t n_named        # of the rows
    uint32_t free_head      # 1 + row; 0: there is none
    uint32_t n_segments
    OverflowRow *segments[OVERFLOW_SEGMENTS]    # owned; rows never move
    uint32_t *index         # owned; open addressing: 1 + row; 0: free
    uint32_t mask


# ---- life

# Allocate an index for one tenant. -1: no memory.
cdef int overflow_init(OverflowTable *s) noexcept nogil
# Free all rows.
cdef void overflow_close(OverflowTable *s) noexcept nogil

# ---- the producer

# Producer only: add a record to the row of its kind.
cdef void overflow_add(OverflowTable *s, const Record *record) noexcept nogil

# ---- the consumer

# Row by its number; it never moves.
cdef OverflowRow *overflow_row(const OverflowTable *s, uint64_t row) noexcept nogil
# Number of rows. Any thread.
cdef uint64_t overflow_rows(const OverflowTable *s) noexcept nogil
# Consumer only: something was added since the last call.
cdef bint overflow_grew(OverflowTable *s) noexcept nogil
# Consumer only: fill `out` with the growth of a row since the last call. 0: none.
cdef bint overflow_take(OverflowRow *row, OverflowRow *out) noexcept nogil

# ---- the control plane

# Allocate rows and an index for so many tenants; with the plane lock. Rows in use stay. -1: no
# memory.
cdef int overflow_reserve(
    OverflowTable *s, uint32_t n_tenants, uint32_t **index, uint32_t *mask
) noexcept nogil
# Put a reserved index in force; *index is then the one it replaced, for the caller to free.
cdef void overflow_use(OverflowTable *s, uint32_t **index, uint32_t mask) noexcept nogil
# Mark, by index, the tenants of whom the consumer has not had all.
cdef void overflow_mark(const OverflowTable *s, uint8_t *marks) noexcept nogil
# Forget tenants, `gone` by index: their indices mean others from now on.
cdef void overflow_forget(OverflowTable *s, const uint8_t *gone) noexcept nogil
