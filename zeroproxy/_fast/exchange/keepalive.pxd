from libc.stdint cimport uint64_t

from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.plane cimport Plane, Relay

# Choose the silence after which this request's stream gets a comment; none for most requests.
cdef void choose_keepalive(const Plane *p, Relay *r, const Head *h) noexcept nogil
# Return the silence that the caller's own read timeout leads to, in ns; 0: it announces none.
cdef uint64_t share_of_timeout(const Head *h) noexcept nogil
# Return when the next comment is due; 0: never.
cdef uint64_t keepalive_due(const Relay *r) noexcept nogil
# Send what is due: the head of the stream if there is none yet, and a comment. 0: the conn broke.
cdef bint keep_alive(Plane *p, Relay *r) noexcept nogil
# Return 1 if a response with this head is a stream that comments may be put into.
cdef bint is_kept_stream(const Relay *r, const Head *h) noexcept nogil
# End a stream whose head was sent early by an error event; it stays cut. 0: the conn broke.
cdef bint send_late_error(Plane *p, Relay *r) noexcept nogil
