from zeroproxy._fast.types.http cimport Head, Verdict

# Check and derive the meaning of a complete request head; head.consumed is set.
cdef Verdict judge_request(Head *head) noexcept nogil
# Check and derive the meaning of a complete response head (RFC 9112 6.3).
cdef Verdict judge_response(Head *head, bint to_head) noexcept nogil
