from zeroproxy._fast.plane cimport Plane
from zeroproxy._fast.types cimport Span

cdef extern from "<time.h>" nogil:
    ctypedef long time_t

cdef void write_date(char *out, time_t when) noexcept nogil
cdef Span date_now(Plane *p) noexcept nogil
