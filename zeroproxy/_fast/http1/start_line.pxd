from zeroproxy._fast.http1.field_lines cimport Scan
from zeroproxy._fast.types.http cimport Head, Verdict

# Read method, target and version. On OK s.at is behind CRLF.
cdef Verdict parse_request_line(Scan *s, Head *head) noexcept nogil
# Read version, status and reason. On OK s.at is behind CRLF.
cdef Verdict parse_status_line(Scan *s, Head *head) noexcept nogil
