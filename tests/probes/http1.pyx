"""Probes of the HTTP/1.1 kernels, for tests and bench/micro only.

A probe takes bytes where they lie (also at the end of a guard page) and hands out plain Python
values. Nothing of the data plane imports this.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from zeroproxy._fast.exchange.date_field cimport write_date
from zeroproxy._fast.exchange.keepalive cimport share_of_timeout
from zeroproxy._fast.http1.body cimport BodySlice, body_begin, body_unframe, frame_chunk, frame_last
from zeroproxy._fast.http1.field_ids_and_values cimport (
    field_id,
    is_authority,
    is_protocol,
    is_traceparent,
    read_number,
)
from zeroproxy._fast.http1.field_lines cimport find_request_id, find_traceparent
from zeroproxy._fast.http1.grammar cimport Cursor
from zeroproxy._fast.http1.head_parser cimport (
    fault_name,
    fault_status,
    fault_text,
    parse_request_head,
    parse_response_head,
)
from zeroproxy._fast.http1.head_writer cimport write_request_head, write_response_head
from zeroproxy._fast.http1.hop cimport RequestHop, ResponseHop
from zeroproxy._fast.types.clock cimport clock_monotonic_ns
from zeroproxy._fast.types.http cimport (
    FAULT_COUNT,
    FIELDS_MAX,
    FIELD_ALIAS,
    FIELD_ID_COUNT,
    FIELD_OTHER,
    FIELD_X_FORWARDED,
    FRAMING_CHUNKED,
    FRAMING_CLOSE,
    FRAMING_LENGTH,
    FRAMING_NONE,
    UPGRADE_IGNORED,
    UPGRADE_NONE,
    UPGRADE_WEBSOCKET,
    VERDICT_BAD,
    VERDICT_MORE,
    VERDICT_OK,
    Body,
    Head,
    HeadLimits,
    Span,
)
from zeroproxy._fast.types.plane cimport DATE_LEN

MORE, OK, BAD = VERDICT_MORE, VERDICT_OK, VERDICT_BAD
NO_BODY, LENGTH, CHUNKED, CLOSE = FRAMING_NONE, FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_CLOSE
FIELDS = FIELDS_MAX
FAULTS = tuple((fault_name(k) or b"").decode() for k in range(FAULT_COUNT))
FIELD_IDS = FIELD_ID_COUNT
OTHER, ALIAS, FORWARDED_KIN = FIELD_OTHER, FIELD_ALIAS, FIELD_X_FORWARDED
UPGRADES = (UPGRADE_NONE, UPGRADE_IGNORED, UPGRADE_WEBSOCKET)


def fault_reply(str name):
    """(status, text) of a fault by name."""
    cdef int k = FAULTS.index(name)
    return fault_status(k), fault_text(k).decode()


cdef HeadLimits limits_of(tuple limits) except *:
    cdef HeadLimits out
    out.line_bytes, out.head_bytes, out.field_count = limits
    return out


cdef bytes cut_out(const Head *h, size_t at, size_t n):
    return h.base[at:at + n]


cdef dict head_as_dict(const Head *h):
    cdef const char *base = h.base
    return {
        "consumed": h.consumed,
        "method": cut_out(h, h.method_at, h.method_len),
        "target": cut_out(h, h.target_at, h.target_len),
        "authority": cut_out(h, h.authority_at, h.authority_len),
        "reason": cut_out(h, h.reason_at, h.reason_len),
        "status": h.status,
        "method_id": h.method,
        "minor": h.minor,
        "framing": h.framing,
        "length": h.length,
        "asks_close": bool(h.asks_close),
        "upgrade": h.upgrade,
        "asks_continue": bool(h.asks_continue),
        "path_only_query": bool(h.path_only_query),
        "host_field": h.host_field,
        "upgrade_field": h.upgrade_field,
        "max_forwards": h.max_forwards,
        "fields": [
            (
                base[h.fields[i].name_at:h.fields[i].name_at + h.fields[i].name_len],
                base[h.fields[i].value_at:h.fields[i].value_at + h.fields[i].value_len],
            )
            for i in range(h.n_fields)
        ],
        "ids": [h.fields[i].id for i in range(h.n_fields)],
        "nominated": [i for i in range(h.n_fields) if h.fields[i].nominated],
    }


cdef tuple answer(int verdict, const Head *h):
    if verdict == VERDICT_OK:
        return verdict, head_as_dict(h)
    if verdict == VERDICT_BAD:
        return verdict, (FAULTS[h.fault], h.fault_at)
    return verdict, None


def request_head(const unsigned char[::1] data, tuple limits):
    """(verdict, dict | (fault, at) | None); limits: (line bytes, head bytes, fields)."""
    cdef Head h
    cdef HeadLimits lim = limits_of(limits)
    return answer(parse_request_head(<const char *>&data[0], len(data), &lim, &h), &h)


def response_head(const unsigned char[::1] data, tuple limits, bint to_head=False):
    cdef Head h
    cdef HeadLimits lim = limits_of(limits)
    return answer(parse_response_head(<const char *>&data[0], len(data), &lim, to_head, &h), &h)


def keepalive_of(const unsigned char[::1] data, tuple limits):
    """Nanoseconds of silence that the caller of this request stands, by its own words."""
    cdef Head h
    cdef HeadLimits lim = limits_of(limits)
    if parse_request_head(<const char *>&data[0], len(data), &lim, &h) != VERDICT_OK:
        raise ValueError(FAULTS[h.fault])
    return share_of_timeout(&h)

# ---------------------------------------------------------------- bodies


cdef class BodyProbe:
    """One Body. `unframe` works in the buffer it is given, as the kernel does."""
    cdef Body body
    cdef uint64_t limit

    def __init__(self, int framing, uint64_t length=0, uint64_t extra_limit=16384):
        body_begin(&self.body, framing, length)
        self.limit = extra_limit

    def unframe(self, unsigned char[::1] data):
        """(verdict, data_at, data_len, consumed)"""
        cdef BodySlice cut
        cdef int verdict = body_unframe(
            &self.body, <char *>&data[0], len(data), &cut, <unsigned int>self.limit
        )
        return verdict, cut.data_at, cut.data_len, cut.consumed

    @property
    def fault(self):
        return FAULTS[self.body.fault]

    @property
    def total(self):
        return self.body.total

    @property
    def done(self):
        return bool(self.body.done)


def chunk(bytes data not None):
    """`data` as one chunk, with the 32 bytes of room on either side that frame_chunk needs."""
    cdef size_t n = len(data)
    cdef size_t head
    cdef char *block = <char *>malloc(n + 64)
    try:
        memcpy(block + 32, <const char *>data, n)
        head = frame_chunk(block + 32, n)
        return block[32 - head:32 + n + 2]
    finally:
        free(block)


def last_chunk():
    cdef char[8] at
    return at[:frame_last(at)]

# ---------------------------------------------------------------- heads as they travel on


cdef Span span_of(bytes value) except *:
    cdef Span s
    s.at = value
    s.len = len(value)
    return s


cdef RequestHop hop_of(dict hop) except *:
    """Borrows the bytes in `hop`."""
    cdef RequestHop out
    out.peer = span_of(hop.get("peer", b""))
    out.proto = span_of(hop.get("proto", b"http"))
    out.host = span_of(hop.get("host", b"endpoint.test"))
    out.drops_host = hop.get("drops_host", 0)
    out.request_id = span_of(hop.get("request_id", b""))
    out.traceparent = span_of(hop.get("traceparent", b""))
    out.lines = span_of(hop.get("lines", b""))
    out.length = hop.get("length", 0)
    out.framing = hop.get("framing", FRAMING_NONE)
    out.adds_via = hop.get("adds_via", 0)
    out.trusts_forwarded = hop.get("trusts_forwarded", 0)
    return out


cdef ResponseHop back_of(dict back) except *:
    cdef ResponseHop out
    out.date = span_of(back.get("date", b""))
    out.request_id = span_of(back.get("request_id", b""))
    out.lines = span_of(back.get("lines", b""))
    out.cors = span_of(back.get("cors", b""))
    out.length = back.get("length", 0)
    out.framing = back.get("framing", FRAMING_NONE)
    out.closes = back.get("closes", 0)
    out.keeps_alive = back.get("keeps_alive", 0)
    out.switches = back.get("switches", 0)
    return out


def rewrite_request(const unsigned char[::1] data, tuple limits, dict hop, size_t cap=65536):
    """The head as it goes upstream; None: it did not fit; ValueError: it did not parse."""
    cdef Head h
    cdef HeadLimits lim = limits_of(limits)
    cdef RequestHop spans = hop_of(hop)
    cdef char *out
    cdef size_t n
    if parse_request_head(<const char *>&data[0], len(data), &lim, &h) != VERDICT_OK:
        raise ValueError(FAULTS[h.fault])
    out = <char *>malloc(cap)       # exactly: one byte more is for the sanitizer to find
    try:
        n = write_request_head(&h, &spans, out, cap)
        return out[:n] if n else None
    finally:
        free(out)


def rewrite_response(
    const unsigned char[::1] data, tuple limits, bint to_head, dict back, size_t cap=65536,
):
    cdef Head h
    cdef HeadLimits lim = limits_of(limits)
    cdef ResponseHop spans = back_of(back)
    cdef char *out
    cdef size_t n
    if parse_response_head(<const char *>&data[0], len(data), &lim, to_head, &h) != VERDICT_OK:
        raise ValueError(FAULTS[h.fault])
    out = <char *>malloc(cap)
    try:
        n = write_response_head(&h, &spans, out, cap)
        return out[:n] if n else None
    finally:
        free(out)


def ids_of_request(const unsigned char[::1] data, tuple limits):
    """(request id, traceparent) that would be taken over; empty: none."""
    cdef Head h
    cdef HeadLimits lim = limits_of(limits)
    cdef Span a, b
    parse_request_head(<const char *>&data[0], len(data), &lim, &h)
    a = find_request_id(&h)
    b = find_traceparent(&h)
    return a.at[:a.len], b.at[:b.len]

# ---------------------------------------------------------------- values


def date_at(long seconds):
    """Date field of a moment."""
    cdef char[DATE_LEN] out
    write_date(out, seconds)
    return out[:DATE_LEN]


def id_of_field(bytes name not None):
    return field_id(<Cursor><const char *>name, len(name))


def is_valid_authority(const unsigned char[::1] value):
    return bool(is_authority(&value[0], len(value)))


def is_valid_protocol(bytes value not None):
    return bool(is_protocol(span_of(value)))


def is_valid_traceparent(const unsigned char[::1] value):
    return bool(is_traceparent(&value[0], len(value)))


def number(bytes value not None):
    cdef uint64_t n
    return n if read_number(<Cursor><const char *>value, len(value), &n) else None

# ---------------------------------------------------------------- ns per call


def time_request(bytes data not None, tuple limits, int64_t n):
    """Nanoseconds for `n` calls of parse_request_head."""
    cdef Head h
    cdef HeadLimits lim = limits_of(limits)
    cdef const char *at = data
    cdef size_t size = len(data)
    cdef uint64_t began
    with nogil:
        began = clock_monotonic_ns()
        for _ in range(n):
            parse_request_head(at, size, &lim, &h)
        began = clock_monotonic_ns() - began
    return began


def time_response(bytes data not None, tuple limits, int64_t n):
    cdef Head h
    cdef HeadLimits lim = limits_of(limits)
    cdef const char *at = data
    cdef size_t size = len(data)
    cdef uint64_t began
    with nogil:
        began = clock_monotonic_ns()
        for _ in range(n):
            parse_response_head(at, size, &lim, 0, &h)
        began = clock_monotonic_ns() - began
    return began


def time_rewrite(bytes data not None, tuple limits, dict hop, int64_t n):
    """Nanoseconds for `n` calls of write_request_head."""
    cdef Head h
    cdef HeadLimits lim = limits_of(limits)
    cdef RequestHop spans = hop_of(hop)
    cdef char[8192] out
    cdef uint64_t began
    parse_request_head(<const char *>data, len(data), &lim, &h)
    with nogil:
        began = clock_monotonic_ns()
        for _ in range(n):
            write_request_head(&h, &spans, out, sizeof(out))
        began = clock_monotonic_ns() - began
    return began


def time_rewrite_back(bytes data not None, tuple limits, dict back, int64_t n):
    """Nanoseconds for `n` calls of write_response_head."""
    cdef Head h
    cdef HeadLimits lim = limits_of(limits)
    cdef ResponseHop spans = back_of(back)
    cdef char[8192] out
    cdef uint64_t began
    parse_response_head(<const char *>data, len(data), &lim, 0, &h)
    with nogil:
        began = clock_monotonic_ns()
        for _ in range(n):
            write_response_head(&h, &spans, out, sizeof(out))
        began = clock_monotonic_ns() - began
    return began


def time_unframe(bytes data not None, int64_t n):
    """Nanoseconds for `n` reads of `data`, whole chunks without the last, off a chunked body.
    Data must lie in one chunk: what moves in place would not be there for the next round."""
    cdef Body b
    cdef BodySlice cut
    cdef size_t size = len(data)
    cdef char *at = <char *>malloc(size)
    cdef uint64_t began
    memset(&b, 0, sizeof(b))
    memcpy(at, <const char *>data, size)
    body_begin(&b, FRAMING_CHUNKED, 0)
    with nogil:
        began = clock_monotonic_ns()
        for _ in range(n):
            body_unframe(&b, at, size, &cut, 16384)
        began = clock_monotonic_ns() - began
    free(at)
    return began
