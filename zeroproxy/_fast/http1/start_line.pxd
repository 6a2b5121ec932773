from zeroproxy._fast.http1.fields cimport Scan
from zeroproxy._fast.types.http cimport Head, Verdict

cdef Verdict parse_request_line(Scan *s, Head *head) noexcept nogil
cdef Verdict parse_status_line(Scan *s, Head *head) noexcept nogil
