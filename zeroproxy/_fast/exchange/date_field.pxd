from zeroproxy._fast.types.http cimport Span
from zeroproxy._fast.types.plane cimport Plane

cdef extern from "<time.h>" nogil:
    ctypedef long time_t

# Write the DATE_LEN bytes of an IMF-fixdate; no NUL.
cdef void write_date(char *out, time_t when) noexcept nogil
# Return the Date of now; borrowed from the plane.
cdef Span date_now(Plane *p) noexcept nogil
