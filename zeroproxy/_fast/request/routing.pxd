from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.model cimport Route
from zeroproxy._fast.types.plane cimport Plane, Relay

cdef enum:
    # Bytes of a request, head included, in which its model, or a key, is looked for: what is
    # waited for anyway, and less than the in-buffer holds.
    LOOK_MAX = 65536
    ROUTE_MORE = -1         # the model stands further on in the body


cdef enum BodyKind:
    BODY_NONE = 0
    BODY_JSON
    BODY_FORM               # multipart/form-data
    BODY_OTHER              # nothing of it is read
    BODY_MORE               # its first byte decides, and is still to come


cdef struct BodyStart:      # what is here of a request's body
    size_t n                # bytes behind the head that are looked at
    const char *at          # those, framing taken off; NULL: not yet
    size_t len
    uint8_t kind            # BodyKind
    uint8_t is_all          # the body ends in them, or is wrong
    uint8_t is_full         # one looks no further


cdef struct Target:         # where a request goes, and what it is called there
    const Route *route      # NULL: the name stays
    size_t at               # a form's: where its name begins in the body
    size_t len              # bytes of the name as the body spells it
    const char *boundary    # a form's, in the head
    size_t boundary_len


cdef void peek_body(Plane *p, Relay *r, const Head *h, size_t here, BodyStart *b) noexcept nogil
cdef void scan_body(Plane *p, Relay *r, const Head *h, BodyStart *b) noexcept nogil
cdef void wait_for_body(Plane *p, Relay *r, const Head *h, const BodyStart *b) noexcept nogil
cdef int route_request(
    Plane *p, Relay *r, const Head *h, BodyStart *b, Target *to,
) noexcept nogil
