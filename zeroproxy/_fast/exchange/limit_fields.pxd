from libc.stddef cimport size_t

from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.plane cimport Plane, Relay

cdef enum:
    LIMIT_FIELDS_MAX = 512  # bytes

# Write the lines that show the quotas of the caller's key, if answers carry them, to `out`, which
# has LIMIT_FIELDS_MAX bytes. Returns their length. `h`: the server's answer, whose own fields of
# these names are nominated; NULL: there is none.
cdef size_t write_limit_fields(Plane *p, const Relay *r, Head *h, char *out) noexcept nogil
