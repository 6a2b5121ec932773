from libc.stddef cimport size_t

from zeroproxy._fast.types.http cimport Head, HeadLimits, Verdict

cdef Verdict parse_request_head(
    const char *buf, size_t len, const HeadLimits *limits, Head *head,
) noexcept nogil
cdef Verdict parse_response_head(
    const char *buf, size_t len, const HeadLimits *limits, bint to_head, Head *head,
) noexcept nogil
cdef int fault_status(int fault) noexcept nogil
cdef const char *fault_text(int fault) noexcept nogil
cdef const char *fault_name(int fault) noexcept nogil
