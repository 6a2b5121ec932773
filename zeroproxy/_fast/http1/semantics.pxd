from zeroproxy._fast.types.http cimport Head, Verdict

cdef Verdict judge_request(Head *head) noexcept nogil
cdef Verdict judge_response(Head *head, bint to_head) noexcept nogil
