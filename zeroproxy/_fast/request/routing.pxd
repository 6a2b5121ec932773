from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.model_name cimport Route
from zeroproxy._fast.types.plane cimport Plane, Relay

cdef enum:
    # Bytes of a request, head included, in which its model and its affinity are looked for. No
    # more than the in-buffer holds.
    LOOK_MAX = 65536
    ROUTE_MORE = -1         # the model may be further on in the body


cdef enum BodyKind:
    BODY_NONE = 0
    BODY_JSON
    BODY_FORM               # multipart/form-data
    BODY_OTHER              # nothing of it is read
    BODY_MORE               # its first byte decides, and is still to come


cdef struct BodyStart:      # the part of a request's body that is here
    size_t n                # bytes behind the head, as far as they are read
    const char *at          # the body in them, framing taken off; NULL: not yet
    size_t len
    uint8_t kind            # BodyKind
    uint8_t is_all          # the body ends in them, or its framing is malformed
    uint8_t is_full         # no more of the body is looked at


cdef struct Target:         # a request's route, and the place of its model's name
    const Route *route      # NULL: the name stays
    size_t at               # of a form: offset of the name in the body
    size_t len              # bytes of the name as the body spells it
    const char *boundary    # of a form: borrowed from the head
    size_t boundary_len


# Find the BodyKind into `b`; `here` bytes lie behind the head, which `b` borrows. Starts the scan
# of a JSON body.
cdef void peek_body(Plane *p, Relay *r, const Head *h, size_t here, BodyStart *b) noexcept nogil
# Scan the part of a JSON body that is here, beyond earlier looks. b.at may be p.compose afterwards.
cdef void scan_body(Plane *p, Relay *r, const Head *h, BodyStart *b) noexcept nogil
# True if the head has a Content-Encoding other than identity.
cdef bint is_coded(const Head *h) noexcept nogil
# Bytes of the body in the `here` bytes behind the head, if all of it is in them: it is marked as
# read then. Else 0.
cdef size_t end_of_body(Plane *p, Relay *r, const Head *h, size_t here) noexcept nogil
# Set r.x.routes_at, at which the head is parsed again, and send 100 (Continue) if it is expected.
cdef void wait_for_body(Plane *p, Relay *r, const Head *h, const BodyStart *b) noexcept nogil
# Index of the upstream, ROUTE_MORE, or ROUTE_MORE - fault for a request that is refused. `to`
# borrows from the head and the route; r.x.model is set.
cdef int route_request(
    Plane *p, Relay *r, const Head *h, BodyStart *b, Target *to,
) noexcept nogil
