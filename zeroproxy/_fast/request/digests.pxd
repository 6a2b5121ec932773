from zeroproxy._fast.types.http cimport Head

# Nominate fields that name the bytes of a body, since the body may be changed.
cdef void drop_digests(Head *h) noexcept nogil
# True if a field of a request lets the server refuse any body but the caller's.
cdef bint is_signed(const Head *h) noexcept nogil
