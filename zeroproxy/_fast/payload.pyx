"""One read of a response's body: counted, and without what the caller did not ask for.

Law. Nothing is held back but an event that goes on in the next read or that waits (strip, law 5),
     and only where something is to be taken out of it.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t
from libc.string cimport memcmp, memcpy, memmove, strlen

from zeroproxy._fast.admission cimport admit_waiting
from zeroproxy._fast.breaker cimport attempt_speaks
from zeroproxy._fast.buffer cimport buffer_append, buffer_bytes, buffer_give_back, buffer_len
from zeroproxy._fast.limit cimport limit_hear
from zeroproxy._fast.meter cimport (
    KIND_EVENTS,
    KIND_LINES,
    meter_feed,
    meter_is_inside,
    meter_turn,
)
from zeroproxy._fast.meter_types cimport Meter
from zeroproxy._fast.plane cimport Plane, Relay
from zeroproxy._fast.strip cimport STRIPS_EVENTS, STRIPS_NOT, STRIPS_UNTOLD, strip_events


cdef enum:
    PART_MAX = 32768        # an event longer than that is not held back
    N_FIELDS = 6

# `error` is one to sse.name_line.
cdef const char* EVENT_FIELDS[N_FIELDS]
EVENT_FIELDS[:] = [b"data:", b"event:", b":", b"id:", b"retry:", b"error:"]


cdef void note_first(Plane *p, Relay *r) noexcept nogil:
    r.first_ns = p.now_ns
    attempt_speaks(p, r)
    if limit_hear(r, p.now_ns):
        admit_waiting(p, r.upstream)


cdef size_t join_part(Plane *p, Relay *r, char *data) noexcept nogil:
    """Put the event that was kept back in front of `data`, where read_response left room; returns
    its length."""
    cdef size_t n = buffer_len(&r.part)
    if n:
        memcpy(data - n, buffer_bytes(&r.part), n)
        buffer_give_back(&r.part, &p.blocks)
    return n


cdef size_t strip_read(Plane *p, Relay *r, char *data, size_t n, bint is_last) noexcept nogil:
    """Meter and strip one read in place; returns how many bytes are to be sent. What waits and what
    goes on is kept back, unless it grows too long or is a comment: then it passes as it is."""
    cdef size_t left = 0
    cdef size_t kept = strip_events(&r.read.meter, r.edited, &r.held_back, data, n, &left)
    cdef size_t waits = r.held_back.len
    if not (left or waits):
        return kept
    memmove(data + kept + waits, data + n - left, left)
    n = waits + left
    if not is_last and n <= PART_MAX and (waits or data[kept] != c':') \
            and buffer_append(&r.part, &p.blocks, data + kept, n):
        return kept
    r.held_back.len = 0
    if left:
        meter_feed(&r.read.meter, data + kept + waits, left)
    return kept + n


cdef bint ends_inside(const Relay *r) noexcept nogil:
    """Whether a body that ends here ends in the middle of an event, a line or a JSON text."""
    cdef Meter m
    cdef size_t n = buffer_len(&r.part) - r.held_back.len
    if n == 0:
        return meter_is_inside(&r.read.meter)
    # The meter itself stays at the edge behind which nothing was sent.
    m = r.read.meter
    meter_feed(&m, buffer_bytes(&r.part) + r.held_back.len, n)
    return meter_is_inside(&m)


# ---------------------------------------------------------------- bodies whose type does not tell


cdef bint begins_events(const char *at, size_t n) noexcept nogil:
    """Whether a body that begins so is an event stream, as far as it is here."""
    cdef const char *word
    cdef size_t len
    cdef int k
    if n >= 3 and memcmp(at, b"\xef\xbb\xbf", 3) == 0:
        at += 3
        n -= 3
    while n and (at[0] == c'\n' or at[0] == c'\r'):
        at += 1
        n -= 1
    for k in range(N_FIELDS):
        word = EVENT_FIELDS[k]
        len = strlen(word)
        if n and memcmp(at, word, len if len < n else n) == 0:
            return 1
    return 0


cdef void look_at_body(Relay *r, const char *at, size_t n) noexcept nogil:
    """The first bytes of an answer to a request for a stream, under a type of another kind."""
    if begins_events(at, n):
        meter_turn(&r.read.meter, KIND_EVENTS)
        r.strips = <uint8_t>(STRIPS_EVENTS if r.edited else STRIPS_NOT)
    else:
        r.strips = STRIPS_NOT
        r.is_streamed = r.read.meter.kind == KIND_LINES


cdef size_t read_data(Plane *p, Relay *r, char **data, size_t n, bint is_last) noexcept nogil:
    """Count one read of the body and take out what the caller did not ask for; returns how many
    bytes at `data` are to be sent."""
    cdef size_t before
    if n:
        r.n_reads += 1
        r.endpoint.last_heard_ns = p.now_ns
        if r.first_ns == 0:
            note_first(p, r)
            if r.strips == STRIPS_UNTOLD:
                look_at_body(r, data[0], n)
    if not r.strips:
        if n:
            meter_feed(&r.read.meter, data[0], n)
        return n
    before = join_part(p, r, data[0])
    data[0] -= before
    return strip_read(p, r, data[0], n + before, is_last) if n + before else 0
