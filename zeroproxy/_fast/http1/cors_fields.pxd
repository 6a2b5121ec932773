from zeroproxy._fast.types.http cimport Head

# Index of the Origin field; -1: there is none, or more than one.
cdef int find_origin(const Head *h) noexcept nogil
# True for a CORS preflight (Fetch, CORS-preflight fetch).
cdef bint is_preflight(const Head *h) noexcept nogil
# End the fields of a response by which its server has answered a page of another origin.
cdef void drop_cors_fields(Head *h) noexcept nogil
