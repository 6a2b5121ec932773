from zeroproxy._fast.meter_types cimport Meter
from zeroproxy._fast.types cimport Tokens

cdef void begin_root(Meter *m) noexcept nogil
cdef void end_choice(Meter *m) noexcept nogil
cdef void end_root(Meter *m) noexcept nogil
cdef void count_text(Meter *m) noexcept nogil
cdef int fold_all(const Meter *m, Tokens *tokens) noexcept nogil
