from libc.stdint cimport int64_t, uint64_t

from zeroproxy._fast.meter_types cimport FACT_PROMPT, Meter
from zeroproxy._fast.types cimport Tokens


cdef inline uint64_t bit(int fact) noexcept nogil:
    """The flag of a fact in Meter.seen."""
    return <uint64_t>1 << (fact - FACT_PROMPT)


cdef inline int64_t value_of(const Meter *m, int fact) noexcept nogil:
    """-1: the root being read does not have it."""
    return m.value[fact - FACT_PROMPT] if m.seen & bit(fact) else -1

cdef void begin_root(Meter *m) noexcept nogil
cdef void end_choice(Meter *m) noexcept nogil
cdef void end_root(Meter *m) noexcept nogil
cdef void count_text(Meter *m) noexcept nogil
cdef int fold_all(const Meter *m, Tokens *tokens) noexcept nogil
