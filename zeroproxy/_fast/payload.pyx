"""One read of a response's body: counted, and without what the caller did not ask for.

Law 1. Nothing is held back but an event that goes on in the next read, and only where something is
       to be taken out of it.
Law 2. Two clocks run by what the engine has made, and by nothing that a server's front end sends on
       its own: `first_ns` is the first content (of any dialect; where none can be read, the first
       data), `heard_ns` and the endpoint's `last_heard_ns` are the last data. Comments, pings and
       empty events move none of them: not the TTFT, no time limit, no breaker, not the silence by
       which a wedged engine is found. They are relayed, and no more.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memmove

from zeroproxy._fast.admission cimport admit_waiting
from zeroproxy._fast.breaker cimport attempt_speaks
from zeroproxy._fast.buffer cimport buffer_append, buffer_bytes, buffer_give_back, buffer_len
from zeroproxy._fast.deadline cimport arm
from zeroproxy._fast.limit cimport limit_hear
from zeroproxy._fast.meter cimport KIND_NONE, meter_feed
from zeroproxy._fast.meter_types cimport WATCH_FIRST, Meter
from zeroproxy._fast.plane cimport Plane, Relay
from zeroproxy._fast.stats cimport histogram_add
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


cdef inline void note_data(Plane *p, Relay *r) noexcept nogil:
    """A read with data. Gaps are those of a streamed response, from its first content on."""
    cdef uint64_t gap
    if r.n_reads:
        r.n_reads += 1
        gap = p.now_ns - r.heard_ns
        histogram_add(&r.upstream.gap, gap)
        if gap > r.gap_max_ns:
            r.gap_max_ns = gap
    r.heard_ns = r.endpoint.last_heard_ns = p.now_ns


cdef void watch_read(Plane *p, Relay *r, uint32_t n_before, bint has_bytes) noexcept nogil:
    """A read before the first content, or one with comments or pings in it: what of it counts."""
    cdef Meter *m = &r.read.meter
    cdef bint goes_on = has_bytes and m.has_data and not m.at_edge
    cdef bint is_blind = has_bytes and m.kind == KIND_NONE
    if m.n_events != n_before or goes_on or is_blind:
        note_data(p, r)
    m.watch &= WATCH_FIRST
    if not m.watch or not (m.has_begun or is_blind):
        return
    if m.has_failed and not m.n_parts:
        # An error is no first token.
        return
    m.watch = 0
    if r.first_ns == 0:
        note_first(p, r)
        r.n_reads = 1
        # The limit is that of a silence now, and may be earlier.
        arm(p, r)


cdef size_t read_data(Plane *p, Relay *r, char **data, size_t n, bint is_last) noexcept nogil:
    """Count one read of the body and take out what the caller did not ask for; returns how many
    bytes at `data` are to be sent."""
    cdef uint32_t n_before = r.read.meter.n_events
    cdef size_t joined, kept = n
    if r.strips and (n or is_last):
        joined = join_part(p, r, data[0])
        data[0] -= joined
        kept = strip_read(p, r, data[0], n + joined, is_last) if n + joined else 0
    elif n:
        meter_feed(&r.read.meter, data[0], n)
    if r.read.meter.watch:
        watch_read(p, r, n_before, n != 0)
    elif n:
        note_data(p, r)
    return kept
