from libc.stddef cimport size_t

from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.plane cimport Plane, Relay

# True if something may be taken out of the body.
cdef bint may_shrink(const Relay *r) noexcept nogil
# Framing of the body downstream: as it came, unless it has no length or may lose some of it. Then
# it is chunked for HTTP/1.1 and ends with the conn for HTTP/1.0.
cdef int choose_framing(Relay *r, const Head *h) noexcept nogil
# Write the head to plane.compose; returns its length, 0: it does not fit.
cdef size_t write_head(Plane *p, Relay *r, Head *h) noexcept nogil
