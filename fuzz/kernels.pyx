"""Heads and bodies: agreement of two readings of the same bytes, and of a reading with a writing.

An input is two bytes of choices, then what the peer sends.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from fuzz.pieces cimport copy_of, demand, next_piece, seed_of
from zeroproxy._fast.http1.body cimport BodySlice, body_begin, body_unframe, frame_chunk
from zeroproxy._fast.http1.field_lines cimport find_request_id, find_traceparent
from zeroproxy._fast.http1.head_parser cimport parse_request_head, parse_response_head
from zeroproxy._fast.http1.head_writer cimport (
    RequestHop,
    ResponseHop,
    write_request_head,
    write_response_head,
)
from zeroproxy._fast.types.http cimport (
    FAULT_NONE,
    FRAMING_CHUNKED,
    FRAMING_LENGTH,
    VERDICT_BAD,
    VERDICT_MORE,
    VERDICT_OK,
    Body,
    Head,
    HeadLimits,
    Span,
)

cdef enum:
    OUT = 1 << 17
    CHOICES = 2
    IS_TIGHT = 1
    IS_OTHER = 2
    EXTRA = 16384


cdef void choose_limits(HeadLimits *lim, uint8_t flags) noexcept nogil:
    lim.line_bytes = 64 if flags & IS_TIGHT else 8192
    lim.head_bytes = 256 if flags & IS_TIGHT else 32768
    lim.field_count = 8 if flags & IS_TIGHT else 100


cdef Span text(const char *at, size_t n) noexcept nogil:
    cdef Span s
    s.at = at
    s.len = n
    return s


cdef void check_inside(const Head *h, size_t n) noexcept nogil:
    cdef int i
    demand(h.consumed <= n)
    demand(h.method_at + h.method_len <= h.consumed)
    demand(h.target_at + h.target_len <= h.consumed)
    demand(h.authority_at + h.authority_len <= h.consumed)
    demand(h.reason_at + h.reason_len <= h.consumed)
    for i in range(h.n_fields):
        demand(h.fields[i].name_len > 0)
        demand(h.fields[i].name_at + h.fields[i].name_len <= h.fields[i].value_at)
        demand(h.fields[i].value_at + h.fields[i].value_len <= h.consumed)


cdef void check_prefix(int part, const Head *a, int whole, const Head *b, size_t k) noexcept nogil:
    """Demand that the whole agrees with a prefix of k bytes that was accepted or refused."""
    if part == VERDICT_OK:
        demand(whole == VERDICT_OK)
        demand(a.consumed == b.consumed)
    elif part == VERDICT_BAD:
        demand(whole == VERDICT_BAD)
    elif whole == VERDICT_OK:
        demand(b.consumed > k)


cdef void check_request_out(const Head *h, uint8_t flags) noexcept nogil:
    """Demand that our own parser takes the head that travels on, with the same meaning."""
    cdef RequestHop hop
    cdef Head again
    cdef HeadLimits wide
    cdef char *out = <char *>malloc(OUT)
    cdef char *exact
    cdef size_t n
    memset(&hop, 0, sizeof(hop))
    hop.peer = text(b"192.0.2.1", 9)
    hop.proto = text(b"http", 4)
    hop.host = text(b"endpoint.test", 13)
    hop.drops_host = flags & IS_OTHER
    hop.request_id = text(b"id", 2)
    hop.length = h.length
    hop.framing = h.framing
    hop.adds_via = flags & IS_OTHER
    hop.trusts_forwarded = flags & 4
    n = write_request_head(h, &hop, out, OUT)
    demand(n > 0)
    wide.line_bytes = wide.head_bytes = OUT
    wide.field_count = 256
    if h.n_fields < 200:
        demand(parse_request_head(out, n, &wide, &again) == VERDICT_OK)
        demand(again.consumed == n)
        demand(again.framing == h.framing and again.length == h.length)
        demand(again.method_len == h.method_len)
        demand(memcmp(h.base + h.method_at, again.base + again.method_at, h.method_len) == 0)
        demand(again.host_field >= 0 and again.authority_len == 0)
    exact = <char *>malloc(n)
    demand(write_request_head(h, &hop, exact, n - 1) == 0)
    demand(write_request_head(h, &hop, exact, n) == n)
    free(exact)
    free(out)


cdef int request_head(const uint8_t *data, size_t size) noexcept nogil:
    cdef Head whole, part
    cdef HeadLimits lim
    cdef size_t n = size - CHOICES, k
    cdef char *at
    cdef char *begin
    cdef int verdict
    cdef Span s
    if size <= CHOICES:
        return -1
    choose_limits(&lim, data[0])
    k = 1 + n * data[1] // 256
    at = copy_of(<const char *>data + CHOICES, n)
    begin = copy_of(at, k)
    verdict = parse_request_head(at, n, &lim, &whole)
    check_prefix(parse_request_head(begin, k, &lim, &part), &part, verdict, &whole, k)
    if verdict == VERDICT_OK:
        check_inside(&whole, n)
        s = find_request_id(&whole)
        demand(s.len <= n)
        s = find_traceparent(&whole)
        demand(s.len <= n)
        check_request_out(&whole, data[0])
    elif verdict == VERDICT_BAD:
        demand(whole.fault != FAULT_NONE and whole.fault_at <= n)
    free(begin)
    free(at)
    return 0


cdef void check_response_out(const Head *h, uint8_t flags) noexcept nogil:
    cdef ResponseHop back
    cdef Head again
    cdef HeadLimits wide
    cdef char *out = <char *>malloc(OUT)
    cdef size_t n
    memset(&back, 0, sizeof(back))
    back.request_id = text(b"id", 2)
    back.length = h.length
    back.framing = h.framing
    back.closes = 1 if flags & IS_OTHER else 0
    n = write_response_head(h, &back, out, OUT)
    demand(n > 0)
    wide.line_bytes = wide.head_bytes = OUT
    wide.field_count = 256
    if h.n_fields < 200 and h.status != 101:
        demand(parse_response_head(out, n, &wide, 0, &again) == VERDICT_OK)
        demand(again.consumed == n and again.status == h.status)
        demand(h.framing != FRAMING_CHUNKED or again.framing == FRAMING_CHUNKED)
        demand(h.framing != FRAMING_LENGTH or again.length == h.length)
    free(out)


cdef int response_head(const uint8_t *data, size_t size) noexcept nogil:
    cdef Head whole, part
    cdef HeadLimits lim
    cdef size_t n = size - CHOICES, k
    cdef bint to_head
    cdef char *at
    cdef char *begin
    cdef int verdict
    if size <= CHOICES:
        return -1
    choose_limits(&lim, data[0])
    to_head = (data[0] & 4) != 0
    k = 1 + n * data[1] // 256
    at = copy_of(<const char *>data + CHOICES, n)
    begin = copy_of(at, k)
    verdict = parse_response_head(at, n, &lim, to_head, &whole)
    part.consumed = 0
    check_prefix(parse_response_head(begin, k, &lim, to_head, &part), &part, verdict, &whole, k)
    if verdict == VERDICT_OK:
        check_inside(&whole, n)
        if not to_head:
            check_response_out(&whole, data[0])
    free(begin)
    free(at)
    return 0

# ---------------------------------------------------------------- bodies


cdef struct Read:           # state and output of one reader of a body
    Body body
    size_t consumed
    size_t n_data
    char *data


cdef bint read_piece(Read *r, const char *at, size_t n, uint32_t extra) noexcept nogil:
    """Read one piece. 0: this body has ended, or is refused."""
    cdef BodySlice cut
    cdef int verdict = VERDICT_MORE
    cdef char *block
    cdef size_t done = 0
    while verdict == VERDICT_MORE and done < n:
        block = copy_of(at + done, n - done)
        verdict = body_unframe(&r.body, block, n - done, &cut, extra)
        demand(cut.consumed <= n - done and cut.data_at + cut.data_len <= n - done)
        memcpy(r.data + r.n_data, block + cut.data_at, cut.data_len)
        r.n_data += cut.data_len
        free(block)
        demand(verdict != VERDICT_MORE or cut.consumed)
        done += cut.consumed
    r.consumed += done
    return verdict == VERDICT_MORE


cdef void check_framed(const char *at, size_t n) noexcept nogil:
    """Demand that bytes we frame come out as they were."""
    cdef char *room = <char *>malloc(n + 64)
    cdef size_t head
    cdef Read r
    if n == 0:
        free(room)
        return
    memcpy(room + 32, at, n)
    head = frame_chunk(room + 32, n)
    r.data = <char *>malloc(n)
    r.n_data = r.consumed = 0
    body_begin(&r.body, FRAMING_CHUNKED, 0)
    demand(read_piece(&r, room + 32 - head, head + n + 2, EXTRA))
    demand(r.n_data == n and memcmp(r.data, at, n) == 0)
    free(r.data)
    free(room)


cdef int body(const uint8_t *data, size_t size) noexcept nogil:
    cdef Read whole, parts
    cdef uint64_t seed
    cdef const char *at = <const char *>data + CHOICES
    cdef size_t n = size - CHOICES, done = 0, k
    cdef uint32_t extra
    cdef int framing
    if size <= CHOICES:
        return -1
    extra = 32 if data[0] & IS_TIGHT else EXTRA
    framing = FRAMING_LENGTH if data[0] & 4 else FRAMING_CHUNKED
    seed = seed_of(data[1])
    whole.data, parts.data = <char *>malloc(n), <char *>malloc(n)
    whole.n_data = whole.consumed = parts.n_data = parts.consumed = 0
    body_begin(&whole.body, framing, 3 * data[1])
    parts.body = whole.body
    if not whole.body.done:
        read_piece(&whole, at, n, extra)
        while done < n:
            k = next_piece(&seed, n - done)
            if not read_piece(&parts, at + done, k, extra):
                break
            done += k
    demand(whole.n_data == parts.n_data and whole.consumed == parts.consumed)
    demand(memcmp(whole.data, parts.data, whole.n_data) == 0)
    demand(whole.body.done == parts.body.done and whole.body.fault == parts.body.fault)
    demand(whole.body.total == parts.body.total and whole.body.total == whole.n_data)
    check_framed(whole.data, whole.n_data)
    free(whole.data)
    free(parts.data)
    return 0


TARGETS = {
    "request_head": <size_t>&request_head,
    "response_head": <size_t>&response_head,
    "body": <size_t>&body,
}
