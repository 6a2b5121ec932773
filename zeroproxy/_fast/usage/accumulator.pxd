from zeroproxy._fast.types.meter cimport Meter

cdef void begin_root(Meter *m) noexcept nogil
cdef void end_choice(Meter *m) noexcept nogil
cdef void end_root(Meter *m) noexcept nogil
cdef void count_text(Meter *m) noexcept nogil
