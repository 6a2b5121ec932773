"""One read of a response's body: counted, and stripped of usage that the caller did not request.

Law 1. Two kinds of event are held back: one that goes on in the next read, and one that waits
       (strip, law 5). Both only where something may be taken out of them.
Law 2. Two clocks run by output of the engine, and by nothing that a server's front end sends on its
       own. `Exchange.first_content_ns` is the first content of any dialect, or the first data where
       none can be read. `last_data_ns`, of exchange and endpoint, is the last data. Comments, pings
       and empty events move none of them: not the TTFT, no time limit, no breaker, nor the silence
       that shows a wedged engine. They are only relayed.
Tests: tests/relay/test_stripping.py, tests/relay/test_first_content.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memmove, strlen

from zeroproxy._fast.exchange.deadlines cimport arm
from zeroproxy._fast.exchange.hold cimport hold_answered
from zeroproxy._fast.exchange.permits cimport admit_waiting
from zeroproxy._fast.memory.buffer cimport buffer_append, buffer_bytes, buffer_clear, buffer_len
from zeroproxy._fast.types.hold cimport DOUBT_REFUSES
from zeroproxy._fast.types.meter cimport WATCH_FIRST, Meter
from zeroproxy._fast.types.plane cimport Plane, Relay
from zeroproxy._fast.upstream.breaker cimport attempt_answered
from zeroproxy._fast.upstream.concurrency_limit cimport limit_observe
from zeroproxy._fast.usage.response_meter cimport (
    KIND_EVENTS,
    KIND_LINES,
    KIND_NONE,
    meter_feed,
    meter_is_inside,
    meter_switch,
)
from zeroproxy._fast.usage.stats cimport histogram_add
from zeroproxy._fast.usage.strip cimport STRIPS_EVENTS, STRIPS_NOT, STRIPS_UNDECIDED, strip_events


cdef enum:
    PART_MAX = 32768        # an event longer than that is not held back
    N_FIELDS = 6

# sse.name_line takes `error` for one, too.
cdef const char* EVENT_FIELDS[N_FIELDS]
EVENT_FIELDS[:] = [b"data:", b"event:", b":", b"id:", b"retry:", b"error:"]


cdef void note_first(Plane *p, Relay *r) noexcept nogil:
    r.x.first_content_ns = p.now_ns
    attempt_answered(p, r)
    if r.attempt.endpoint.doubt == DOUBT_REFUSES or r.x.upstream.hold.is_on:
        hold_answered(p, r)
    if limit_observe(r, p.now_ns):
        admit_waiting(p, r.x.upstream)


cdef size_t join_part(Plane *p, Relay *r, char *data) noexcept nogil:
    """Put the event that was kept back in front of `data`, where read_response left room. Returns
    its length."""
    cdef size_t n = buffer_len(&r.x.partial_event)
    if n:
        memcpy(data - n, buffer_bytes(&r.x.partial_event), n)
        buffer_clear(&r.x.partial_event, &p.blocks)
    return n


cdef size_t strip_read(Plane *p, Relay *r, char *data, size_t n, bint is_last) noexcept nogil:
    """Meter and strip one read in place; returns the bytes to send. An event that waits or goes on
    is kept back. One that grows too long, or a comment, passes as it is."""
    cdef size_t left = 0
    cdef size_t kept = strip_events(&r.x.scan.meter, r.x.edited, &r.x.held_back, data, n, &left)
    cdef size_t waits = r.x.held_back.len
    if not (left or waits):
        return kept
    memmove(data + kept + waits, data + n - left, left)
    n = waits + left
    if not is_last and n <= PART_MAX and (waits or data[kept] != c':') \
            and buffer_append(&r.x.partial_event, &p.blocks, data + kept, n):
        return kept
    r.x.held_back.len = 0
    if left:
        meter_feed(&r.x.scan.meter, data + kept + waits, left)
    return kept + n


cdef bint ends_inside(const Relay *r) noexcept nogil:
    """True if a body that ends here ends inside an event, a line or a JSON text."""
    cdef Meter m
    cdef size_t n = buffer_len(&r.x.partial_event) - r.x.held_back.len
    if n == 0:
        return meter_is_inside(&r.x.scan.meter)
    # The meter itself stays at the edge behind which nothing was sent.
    m = r.x.scan.meter
    meter_feed(&m, buffer_bytes(&r.x.partial_event) + r.x.held_back.len, n)
    return meter_is_inside(&m)


# ---------------------------------------------------------------- bodies of a misleading type


cdef bint begins_events(const char *at, size_t n) noexcept nogil:
    """True if a body with these first bytes is an event stream, as far as it is here."""
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
    """Look at the first bytes of an answer to a request for a stream, if its type is another."""
    if begins_events(at, n):
        meter_switch(&r.x.scan.meter, KIND_EVENTS)
        r.x.strips = <uint8_t>(STRIPS_EVENTS if r.x.edited else STRIPS_NOT)
    else:
        r.x.strips = STRIPS_NOT
        r.x.is_streamed = r.x.scan.meter.kind == KIND_LINES


cdef inline void note_data(Plane *p, Relay *r) noexcept nogil:
    """Note a read with data. Gaps are those of a streamed response, from its first content on."""
    cdef uint64_t gap
    if r.x.n_reads:
        r.x.n_reads += 1
        gap = p.now_ns - r.x.last_data_ns
        histogram_add(&r.x.upstream.gap, gap)
        if gap > r.x.gap_max_ns:
            r.x.gap_max_ns = gap
    r.x.last_data_ns = r.attempt.endpoint.last_data_ns = p.now_ns


cdef void watch_read(Plane *p, Relay *r, uint32_t n_before, bint has_bytes) noexcept nogil:
    """Note the data in a read before the first content, or in one with comments or pings."""
    cdef Meter *m = &r.x.scan.meter
    cdef bint goes_on = has_bytes and m.has_data and not m.at_edge
    cdef bint is_blind = has_bytes and m.kind == KIND_NONE
    if m.n_events != n_before or goes_on or is_blind:
        note_data(p, r)
    if r.x.keepalive.after_ns:
        # A server's own comments keep the stream alive as well.
        r.x.keepalive.last_ns = p.now_ns
    m.watch &= WATCH_FIRST
    if not m.watch or not (m.has_begun or is_blind):
        return
    if m.has_failed and not m.n_parts:
        # An error is no first token.
        return
    m.watch = 0
    if r.x.first_content_ns == 0:
        note_first(p, r)
        r.x.n_reads = 1
        # The limit is that of a silence now, and may be earlier.
        arm(p, r)


cdef size_t drop_bom(char **data, size_t n) noexcept nogil:
    """Drop a BOM behind a comment of ours: it is one only in front of a stream. Returns its
    length."""
    if n < 3 or memcmp(data[0], b"\xef\xbb\xbf", 3) != 0:
        return 0
    data[0] += 3
    return 3


cdef size_t read_data(Plane *p, Relay *r, char **data, size_t n, bint is_last) noexcept nogil:
    """Count one read of the body and take out usage that the caller did not request. Returns the
    number of bytes to send at `data`."""
    cdef uint32_t n_before = r.x.scan.meter.n_events
    cdef size_t joined, kept = n
    if r.x.strips == STRIPS_UNDECIDED and n:
        look_at_body(r, data[0], n)
        if not r.x.is_streamed:
            r.x.scan.meter.watch = 0
            note_first(p, r)
    if r.x.strips and (n or is_last):
        joined = join_part(p, r, data[0])
        data[0] -= joined
        kept = strip_read(p, r, data[0], n + joined, is_last) if n + joined else 0
    elif n:
        meter_feed(&r.x.scan.meter, data[0], n)
    if r.x.scan.meter.watch:
        if r.x.keepalive.has_comment and r.x.bytes_out == 0:
            kept -= drop_bom(data, kept)
        watch_read(p, r, n_before, n != 0)
    elif n:
        note_data(p, r)
    return kept
