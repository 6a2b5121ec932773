from libc.stddef cimport size_t

from zeroproxy._fast.request.routing cimport BodyStart, Target
from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.plane cimport Plane, Relay, Upstream

# ---- requests

# Decide the edits of a request, and by how much its body may grow (r.x.reserve). `here` bytes of
# the body lie behind the head, which is borrowed; its fields may be nominated.
cdef void begin_editing(
    Plane *p, Relay *r, Head *h, size_t here, const BodyStart *body, const Target *to,
) noexcept nogil
# UsageRequest that every endpoint of the upstream understands for this path.
cdef int usage_request_for(const Upstream *u, const Relay *r) noexcept nogil
# Send `n` body bytes on, framing taken off, with their edits. `data` has SLACK around it unless it
# is empty, and is overwritten; is_last: none follow. False: no space, or refused (r.x.fault).
cdef bint pass_body(Plane *p, Relay *r, char *data, size_t n, bint is_last) noexcept nogil

# ---- responses

# Retry an edited request without its edits, if `status` may be their fault. True: it is on its way.
cdef bint retry_unedited(Plane *p, Relay *r, int status) noexcept nogil
# Learn from the status of the final answer if the endpoint takes edits.
cdef void judge_edits(Relay *r, int status) noexcept nogil
