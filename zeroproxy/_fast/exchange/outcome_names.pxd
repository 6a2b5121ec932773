# Return the name of an Exactness; static.
cdef const char *exactness_name(int exactness) noexcept nogil
# Return the HTTP status of an exchange that ended before a response head was sent.
cdef int outcome_status(int blame, int cause) noexcept nogil
