from libc.stddef cimport size_t
from libc.stdint cimport uint32_t

from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.plane cimport Plane, Relay

cdef enum:
    HEADER_LEAST = 4        # bytes of the name of a header that is removed, or of its prefix

# Fault of a head that no upstream takes; FAULT_NONE for one that is to be routed.
cdef int judge_path(const Plane *p, Relay *r, Head *h) noexcept nogil
# The same for the upstream at `index`, once the request is routed.
cdef int judge_routed_path(Relay *r, Head *h, int index) noexcept nogil
# True if members of a body are refused by the upstream at `index`: the body has to be read.
cdef bint refuses_members(const Relay *r, int index) noexcept nogil
# True if its upstream refuses a member that the body has named so far; it is in r.x.surface.
cdef bint has_refused_member(Relay *r) noexcept nogil
# Place of a path in a PathTable, before its mask.
cdef uint32_t path_place(const char *at, size_t len) noexcept nogil
# Nominate the fields that its upstream does not get.
cdef void strip_fields(const Relay *r, Head *h) noexcept nogil


# Bit in HeaderTable.filter of a name of HEADER_LEAST bytes or more. Its first, third and fourth
# byte choose it, since most names begin alike. Case does not count; "_" and "-" differ.
cdef inline uint32_t header_bit(char first, char third, char fourth) noexcept nogil:
    return (
        (<uint32_t>(third & 31) << 3) ^ <uint32_t>(fourth & 31) ^ (<uint32_t>(first & 7) << 5)
    )
