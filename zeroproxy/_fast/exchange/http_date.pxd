from zeroproxy._fast.types.http cimport Span
from zeroproxy._fast.types.plane cimport Plane

cdef extern from "<time.h>" nogil:
    ctypedef long time_t

cdef void write_date(char *out, time_t when) noexcept nogil
cdef Span date_now(Plane *p) noexcept nogil
