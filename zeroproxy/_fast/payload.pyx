"""One read of a response's body: counted, and without what the caller did not ask for.

Law. Nothing is held back but an event that goes on in the next read, and only where something is
     to be taken out of it.
"""

from libc.stddef cimport size_t
from libc.string cimport memcpy, memmove

from zeroproxy._fast.admission cimport admit_waiting
from zeroproxy._fast.breaker cimport attempt_speaks
from zeroproxy._fast.buffer cimport buffer_append, buffer_bytes, buffer_give_back, buffer_len
from zeroproxy._fast.limit cimport limit_hear
from zeroproxy._fast.meter cimport meter_feed
from zeroproxy._fast.plane cimport Plane, Relay
from zeroproxy._fast.strip cimport strip_events


cdef enum:
    PART_MAX = 32768        # an event longer than that is not held back


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
    """Meter and strip one read in place; returns how many bytes are to be sent. An event that goes
    on is kept back, unless it grows too long: then it passes as it is."""
    cdef size_t left = 0
    cdef size_t kept = strip_events(&r.read.meter, r.edited, data, n, &left)
    cdef char *rest = data + n - left
    if left and not is_last and left <= PART_MAX and buffer_append(&r.part, &p.blocks, rest, left):
        return kept
    if left:
        meter_feed(&r.read.meter, rest, left)
        memmove(data + kept, rest, left)
    return kept + left


cdef size_t read_data(Plane *p, Relay *r, char **data, size_t n, bint is_last) noexcept nogil:
    """Count one read of the body and take out what the caller did not ask for; returns how many
    bytes at `data` are to be sent."""
    cdef size_t before
    if n:
        r.n_reads += 1
        r.endpoint.last_heard_ns = p.now_ns
        if r.first_ns == 0:
            note_first(p, r)
    if not r.strips:
        if n:
            meter_feed(&r.read.meter, data[0], n)
        return n
    before = join_part(p, r, data[0])
    data[0] -= before
    return strip_read(p, r, data[0], n + before, is_last) if n + before else 0
