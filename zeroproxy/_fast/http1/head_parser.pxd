from libc.stddef cimport size_t

from zeroproxy._fast.types.http cimport Head, HeadLimits, Verdict

# Parse a request head. OK: complete, `consumed` bytes; the Head borrows `buf`.
cdef Verdict parse_request_head(
    const char *buf, size_t len, const HeadLimits *limits, Head *head,
) noexcept nogil
# Parse a response head; `to_head`: it answers a HEAD request. The Head borrows `buf`.
cdef Verdict parse_response_head(
    const char *buf, size_t len, const HeadLimits *limits, bint to_head, Head *head,
) noexcept nogil
# Status for a request with this fault. A response with a fault is a 502.
cdef int fault_status(int fault) noexcept nogil
# Sentence for the error message to a caller; static.
cdef const char *fault_text(int fault) noexcept nogil
# Name of a fault, for tests; static.
cdef const char *fault_name(int fault) noexcept nogil
