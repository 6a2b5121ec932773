"""Between the relay and the meter: counting by the response head, and the counts of a record.

Law 1. Only answers to POST are counted, and messages of a session's tunnel (/v1/realtime,
       /v1/responses): a GET may replay an answer that was counted before.
Law 2. Counted bytes must be readable. A caller's Accept-Encoding is not passed on with a POST
       (request/body_edits.pyx), nor its offer of compressed frames with such a tunnel.
Law 3. A count above TOKENS_MAX enters no record, no total and no quota; the rest of its record is
       untrusted. So one fault of a server spoils no sum for ever.
Tests: tests/relay/test_sessions.py, tests/relay/test_records.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t

from zeroproxy._fast.exchange.path_kinds cimport ends_with, generates, is_generating
from zeroproxy._fast.http1.field_ids_and_values cimport is_media_type
from zeroproxy._fast.http1.grammar cimport Cursor, is_word
from zeroproxy._fast.jsonscan.request_scan cimport request_scan_is_in_model
from zeroproxy._fast.jsonscan.string_end_and_number cimport parse_count
from zeroproxy._fast.jsonscan.strings cimport name_clear, name_write
from zeroproxy._fast.types.clock cimport NS_PER_S
from zeroproxy._fast.types.exchange_enums cimport (
    BLAME_NOBODY,
    BLAME_UPSTREAM,
    CAUSE_TIMEOUT,
    PHASE_RELAYING,
    PHASE_WAITING,
)
from zeroproxy._fast.types.http cimport (
    FIELD_CONTENT_ENCODING,
    FIELD_CONTENT_TYPE,
    FIELD_OTHER,
    FRAMING_CLOSE,
    METHOD_POST,
    Field,
    Head,
)
from zeroproxy._fast.types.meter cimport (
    EXACTNESS_NONE,
    EXACTNESS_UNCOUNTED,
    EXACTNESS_UNTRUSTED,
    TOKENS_MAX,
    WATCH_FIRST,
    Meter,
    Tokens,
)
from zeroproxy._fast.types.plane cimport Exchange, Relay
from zeroproxy._fast.types.record cimport Record
from zeroproxy._fast.usage.response_meter cimport (
    FINISH_CUT,
    KIND_EVENTS,
    KIND_FRAMES,
    KIND_JSON,
    KIND_LINES,
    KIND_NONE,
    meter_begin,
    meter_end,
    meter_feed,
    meter_finish_of,
)
from zeroproxy._fast.usage.strip cimport STRIPS_EVENTS, STRIPS_NOT, STRIPS_UNDECIDED


cdef enum:                  # of an estimate
    TOKEN_BYTES = 4         # of text, as English has them
    EVENT_BYTES = 250       # of an event, around its text
    GUESS_MAX = 16384       # tokens: images are sent as text without being it
    SECOND_TOKENS = 100     # of one request, by a fast engine

cdef int kind_of_type(const char *at, size_t len) noexcept nogil:
    if is_media_type(at, len, b"text/event-stream", 17):
        return KIND_EVENTS
    if is_media_type(at, len, b"application/json", 16):
        return KIND_JSON
    if is_media_type(at, len, b"application/x-ndjson", 20) or is_media_type(
        at, len, b"application/jsonl", 17
    ):
        return KIND_LINES
    return KIND_NONE


cdef int kind_of_path(const char *at, size_t len) noexcept nogil:
    """FastChat's workers and imitators of Ollama send no Content-Type."""
    if ends_with(at, len, b"/worker_generate_stream", 23) or ends_with(at, len, b"/api/chat", 9) \
            or ends_with(at, len, b"/api/generate", 13):
        return KIND_LINES
    return KIND_NONE


cdef void meter_path(Meter *m, const char *at, size_t len) noexcept nogil:
    m.counts_tokens = m.kind == KIND_EVENTS and ends_with(at, len, b"/generate_stream", 16)
    m.sums_prompts = ends_with(at, len, b"/completions", 12) \
        and not ends_with(at, len, b"/chat/completions", 17)


cdef int64_t prompt_guess(uint64_t bytes) noexcept nogil:
    """Tokens of a request's body."""
    return min(<int64_t>(bytes // TOKEN_BYTES), <int64_t>GUESS_MAX)


cdef int64_t tokens_spent(const Relay *r, const Record *record) noexcept nogil:
    """Charge the count, or an estimate if the server has answered without a count: otherwise a
    caller that suppresses the count would pay nothing. If the exchange was broken off before a
    count, charge the time that an engine had, at most the reservation."""
    cdef const Tokens *t = &record.tokens
    cdef int64_t prompt = max(t.prompt, 0), completion = max(t.completion, 0), text
    if record.exactness == EXACTNESS_UNCOUNTED:
        prompt = prompt_guess(record.bytes_in)
        text = <int64_t>(
            (r.x.began_ns + record.total_ns - r.attempt.sent_ns) // (NS_PER_S // SECOND_TOKENS)
        )
        return prompt + min(text, <int64_t>r.x.reserved)
    if t.prompt >= 0 or r.x.method != METHOD_POST or not 200 <= r.x.status < 300 \
            or not is_generating(r.x.path, r.x.path_len):
        return prompt + completion
    text = <int64_t>record.bytes_out - <int64_t>record.n_events * EVENT_BYTES
    prompt = prompt_guess(record.bytes_in)
    text = min(text // TOKEN_BYTES, GUESS_MAX)
    return prompt + max(completion, text, <int64_t>record.n_events)


cdef int head_count(Meter *m, int64_t n) noexcept nogil:
    """A count of the head; -1: not known."""
    if n > TOKENS_MAX:
        m.is_absurd = 1
    return <int>(n if 0 <= n <= TOKENS_MAX else -1)


cdef void read_field(Meter *m, const Head *h, const Field *f) noexcept nogil:
    """Read counts in the head: TGI's, and vLLM's where the body is bytes."""
    cdef Cursor name = <Cursor>h.base + f.name_at
    cdef const char *value = h.base + f.value_at
    if is_word(name, f.name_len, b"x-prompt-tokens", 15):
        m.head_prompt = head_count(m, parse_count(value, f.value_len))
    elif is_word(name, f.name_len, b"x-generated-tokens", 18):
        m.head_completion = head_count(m, parse_count(value, f.value_len))
    elif m.kind == KIND_NONE and is_word(name, f.name_len, b"metadata", 8):
        m.kind = KIND_JSON
        m.is_single = 1
        meter_feed(m, value, f.value_len)
        m.kind = KIND_NONE


cdef void begin_response_meter(Relay *r, int kind) noexcept nogil:
    """Replace the request scan by the response meter, which keeps the model's name and the number
    of choices. The rest of a request that is answered early is not scanned."""
    cdef uint16_t n = 0
    if r.x.scans_body:
        n = r.x.scan.request.n
        r.x.surface.is_blind = r.x.scan.request.refusable != NULL and not r.x.scan.request.is_done
        if request_scan_is_in_model(&r.x.scan.request):
            # The caller left in the middle of the name: half of one is no name.
            name_clear(&r.x.model)
    r.x.scans_body = 0
    meter_begin(&r.x.scan.meter, kind)
    if n:
        r.x.scan.meter.n_requested = n
    r.x.scan.meter.model = &r.x.model
    r.x.scan.meter.is_model_requested = 1


cdef bint asks_stream(const Relay *r) noexcept nogil:
    return r.x.edited != 0 or (r.x.scans_body and r.x.scan.request.is_stream)


cdef void meter_response(Relay *r, const Head *h) noexcept nogil:
    """Note too if the body comes event by event, and if it is stripped. Servers answer with events
    under any type, or none."""
    cdef const Field *f
    cdef int i, kind = KIND_NONE
    cdef bint is_typed = 0, is_coded = 0
    for i in range(h.n_fields):
        f = &h.fields[i]
        if f.id == FIELD_CONTENT_ENCODING:
            # Compressed: neither events nor counts can be seen.
            is_coded = 1
        elif f.id == FIELD_CONTENT_TYPE:
            is_typed = 1
            kind = kind_of_type(h.base + f.value_at, f.value_len)
    if not is_typed:
        kind = kind_of_path(r.x.path, r.x.path_len)
    r.x.is_streamed = kind == KIND_EVENTS or kind == KIND_LINES
    r.x.strips = STRIPS_NOT
    if kind == KIND_EVENTS and r.x.edited and not is_coded:
        r.x.strips = STRIPS_EVENTS
    elif kind != KIND_EVENTS and not is_coded and h.status < 300 and asks_stream(r):
        r.x.is_streamed = 1
        r.x.strips = STRIPS_UNDECIDED
    begin_response_meter(r, KIND_NONE if is_coded else kind)
    if r.x.is_streamed:
        r.x.scan.meter.watch = WATCH_FIRST
    if r.x.method != METHOD_POST:
        # The ends of events are needed all the same: an error of a cut goes between two of them.
        r.x.scan.meter.is_uncounted = 1
        r.x.scan.meter.is_over = h.framing != FRAMING_CLOSE
        return
    if h.status >= 300:
        return
    meter_path(&r.x.scan.meter, r.x.path, r.x.path_len)
    for i in range(h.n_fields):
        if h.fields[i].id == FIELD_OTHER:
            read_field(&r.x.scan.meter, h, &h.fields[i])


cdef void meter_tunnel(Relay *r) noexcept nogil:
    begin_response_meter(r, KIND_FRAMES if is_session(r) else <int>KIND_NONE)


cdef bint is_session(const Relay *r) noexcept nogil:
    """Return 1 if a WebSocket of this path carries answers with usage."""
    return ends_with(r.x.path, r.x.path_len, b"/v1/realtime", 12) \
        or ends_with(r.x.path, r.x.path_len, b"/v1/responses", 13)


cdef void meter_upgrade(Relay *r, Head *h) noexcept nogil:
    cdef Field *f
    cdef int i
    if not is_session(r):
        return
    for i in range(h.n_fields):
        f = &h.fields[i]
        if f.id == FIELD_OTHER and is_word(
            <Cursor>h.base + f.name_at, f.name_len, b"sec-websocket-extensions", 24
        ):
            f.nominated = 1


# ---------------------------------------------------------------- the end


cdef bint is_abandoned(const Relay *r) noexcept nogil:
    """Return 1 if the exchange was broken off while an engine had the request, before any count.
    The caller, a time limit or the proxy's stop may have done so."""
    cdef const Exchange *x = &r.x
    if x.method != METHOD_POST or r.attempt.sent_ns == 0 or not x.request_body.done \
            or not generates(x.path, x.path_len):
        return 0
    if x.ended_in == PHASE_WAITING and x.status == 200:
        # Late, an answer that is no stream cannot be passed on: keepalive.pyx.
        return 1
    if x.ended_in == PHASE_RELAYING:
        return x.blame != BLAME_NOBODY and x.status < 400
    return x.ended_in == PHASE_WAITING and (x.blame != BLAME_UPSTREAM or x.cause == CAUSE_TIMEOUT)


cdef bint is_plausible(int64_t *n) noexcept nogil:
    """0: the count is too large, and unknown now."""
    if n[0] <= TOKENS_MAX:
        return 1
    n[0] = -1
    return 0


cdef void bound_tokens(Record *record) noexcept nogil:
    """Apply law 3."""
    cdef Tokens *t = &record.tokens
    if not (is_plausible(&t.prompt) & is_plausible(&t.completion) & is_plausible(&t.cached)
            & is_plausible(&t.reasoning)):
        record.exactness = EXACTNESS_UNTRUSTED


cdef void meter_finish(Relay *r, Record *record) noexcept nogil:
    cdef bint is_whole = r.x.blame == BLAME_NOBODY and r.x.response_body.done
    if r.x.scans_body:
        begin_response_meter(r, KIND_NONE)
    record.exactness = <uint8_t>meter_end(&r.x.scan.meter, is_whole, r.x.status, &record.tokens)
    record.finish = <uint8_t>meter_finish_of(&r.x.scan.meter, is_whole, r.x.status)
    bound_tokens(record)
    if record.exactness == EXACTNESS_NONE and not is_whole and is_abandoned(r):
        record.exactness = EXACTNESS_UNCOUNTED
        record.finish = FINISH_CUT
    record.model_len = <uint16_t>name_write(&r.x.model, record.model)
    if not r.x.scan.meter.is_uncounted:
        record.n_events = r.x.scan.meter.n_events
