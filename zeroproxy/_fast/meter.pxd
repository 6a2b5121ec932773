from libc.stddef cimport size_t

from zeroproxy._fast.meter_types cimport Meter

cdef void meter_begin(Meter *m) noexcept nogil
cdef void meter_feed(Meter *m, const char *at, size_t len) noexcept nogil
