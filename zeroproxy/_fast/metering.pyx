"""Between the relay and the meter: what a response head says about counting, and what a record
keeps of the count."""

from zeroproxy._fast.meter cimport meter_begin
from zeroproxy._fast.plane cimport Record, Relay
from zeroproxy._fast.types cimport FIELD_CONTENT_TYPE, NONE, Field, Head


cdef bint is_kind(const Head *h, const Field *f, const char *kind, size_t n) noexcept nogil:
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
    """A final response head: begin to count, and note whether the body comes event by event."""
    cdef const Field *f
    cdef int i
    meter_begin(&r.meter)
    r.is_streamed = 0
    for i in range(h.n_fields):
        f = &h.fields[i]
        if f.id == FIELD_CONTENT_TYPE:
            r.is_streamed = is_kind(h, f, b"text/event-stream", 17) \
                or is_kind(h, f, b"application/x-ndjson", 20)
            return


cdef void meter_finish(Relay *r, Record *record) noexcept nogil:
    """Write what was counted into the record."""
    record.tokens.prompt = record.tokens.completion = -1
    record.tokens.cached = record.tokens.reasoning = -1
    record.exactness = NONE
    record.n_events = r.meter.n_events
