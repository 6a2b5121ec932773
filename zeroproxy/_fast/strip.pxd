from libc.stddef cimport size_t

from zeroproxy._fast.meter_types cimport Meter

cdef size_t strip_events(
    Meter *m, int edited, char *at, size_t len, size_t *left,
) noexcept nogil
