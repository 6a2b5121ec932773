"""Between the relay and the meter: what a response head says about counting, and what a record
keeps of the count."""

from libc.string cimport memcpy

from zeroproxy._fast.meter cimport (
    KIND_EVENTS,
    KIND_JSON,
    KIND_NONE,
    meter_begin,
    meter_end,
)
from zeroproxy._fast.plane cimport Record, Relay
from zeroproxy._fast.types cimport (
    BLAME_NOBODY,
    FIELD_CONTENT_ENCODING,
    FIELD_CONTENT_TYPE,
    METHOD_POST,
    Field,
    Head,
)


cdef bint is_type(const Head *h, const Field *f, const char *kind, size_t n) noexcept nogil:
    """Media types compare without case, and end at the parameters."""
    cdef size_t i
    cdef char byte
    if f.value_len < n:
        return 0
    for i in range(n):
        byte = h.base[f.value_at + i]
        if c'A' <= byte <= c'Z':
            byte += 32
        if byte != kind[i]:
            return 0
    return f.value_len == n or h.base[f.value_at + n] in (c';', c' ', c'\t')


cdef void meter_response(Relay *r, const Head *h) noexcept nogil:
    """A final response head: begin to count, and note whether the body comes event by event.
    Only answers to POST are counted: a GET may replay an answer that was counted before."""
    cdef const Field *f
    cdef int i, kind = KIND_NONE
    r.is_streamed = 0
    for i in range(h.n_fields):
        f = &h.fields[i]
        if f.id == FIELD_CONTENT_ENCODING:
            # Compressed: neither events nor counts can be seen.
            kind = KIND_NONE
            r.is_streamed = 0
            break
        if f.id == FIELD_CONTENT_TYPE:
            if is_type(h, f, b"text/event-stream", 17):
                r.is_streamed = 1
                kind = KIND_EVENTS
            elif is_type(h, f, b"application/json", 16):
                kind = KIND_JSON
            elif is_type(h, f, b"application/x-ndjson", 20):
                r.is_streamed = 1
    meter_begin(&r.meter, kind if r.method == METHOD_POST else <int>KIND_NONE)


cdef void meter_finish(Relay *r, Record *record) noexcept nogil:
    """Write what was counted into the record."""
    cdef bint is_whole = r.blame == BLAME_NOBODY and r.reply.done
    record.exactness = <unsigned char>meter_end(&r.meter, is_whole, &record.tokens)
    record.n_events = r.meter.n_events
    record.model_len = r.meter.model_len
    memcpy(record.model, r.meter.model, r.meter.model_len)
