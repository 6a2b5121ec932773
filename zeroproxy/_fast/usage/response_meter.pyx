"""The meter of a response: it finds the ends of events, and counts what is in them.

Law 1. Resumable at every byte, bounded, and never a copy of the response.
Law 2. An edge is a blank line, or a comment line behind an edge, in any of the three line ends SSE
       allows (LF, CRLF, CR).
Law 3. Uncounted bytes are still relayed: after [DONE], after garbage, in every other body.
Law 4. An event that fits the template made of the one before (template.pyx) is not walked again.
       One that fits its head is walked from the text on. The counts are the same.
Tests: tests/unit/test_meter.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memset

from zeroproxy._fast.types.meter cimport (
    EXACTNESS_NONE,
    FACT_CONTENT,
    FACT_ERROR,
    FACT_ERROR_CODE,
    FACT_T_PREDICTED,
    FAMILY_USAGE,
    SENSE_NONE,
    TYPE_OTHER,
    WATCH_FIRST,
    Meter,
    Tokens,
    bit,
)
from zeroproxy._fast.usage.accumulator cimport count_text
from zeroproxy._fast.usage.json_walk cimport WALK_PLAIN, walk_begin, walk_feed
from zeroproxy._fast.usage.response_meter cimport (
    FINISH_CUT,
    FINISH_DONE,
    FINISH_ERROR,
    FINISH_UNKNOWN,
    KIND_EVENTS,
    KIND_FRAMES,
    KIND_JSON,
    KIND_LINES,
    KIND_NONE,
    Event,
)
from zeroproxy._fast.usage.response_totals cimport sum_tokens
from zeroproxy._fast.usage.sse cimport LINE_COMMENT, LineScan, end_event, end_line, walk_lines
from zeroproxy._fast.usage.template cimport (
    LEARN_BEGUN,
    LEARN_NOT,
    fits_head,
    fits_tail,
    is_one_line,
    learn_event,
    resume,
)
from zeroproxy._fast.usage.websocket cimport walk_frames


cdef void meter_switch(Meter *m, int kind) noexcept nogil:
    """Change the kind of the body, before its first byte."""
    m.kind = <uint8_t>kind
    m.is_single = kind == KIND_JSON
    m.is_session = kind == KIND_FRAMES
    m.watch = WATCH_FIRST if kind == KIND_EVENTS or kind == KIND_LINES else 0


cdef void meter_begin(Meter *m, int kind) noexcept nogil:
    memset(m, 0, sizeof(Meter))
    meter_switch(m, kind)
    m.at_edge = 1
    m.is_blank = 1
    m.n_requested = 1
    m.cache_made = -1
    m.head_prompt = m.head_completion = -1
    m.final.prompt = m.final.completion = m.final.cached = m.final.reasoning = -1
    walk_begin(m)


# ---------------------------------------------------------------- series of texts


cdef void walk_texts(Meter *m, const char *at, size_t len) noexcept nogil:
    """Walk JSON texts, each ended by LF or NUL."""
    cdef size_t k
    cdef size_t begin = 0
    cdef const char *end
    while begin < len:
        end = <const char *>memchr(at + begin, c'\n', len - begin)
        k = <size_t>(end - at) if end != NULL else len
        end = <const char *>memchr(at + begin, 0, k - begin)
        if end != NULL:
            k = <size_t>(end - at)
        if k > begin:
            m.at_edge = 0
            m.has_data = 1
            if not m.is_over:
                walk_feed(m, at + begin, k - begin)
        if k < len:
            end_event(m)
            m.at_edge = 1
        begin = k + 1


# ---------------------------------------------------------------- whole events


cdef void resume_event(Meter *m, const char *at, size_t len) noexcept nogil:
    """Walk an event whose head is known from its text on; the rest of it is one line."""
    resume(m)
    walk_feed(m, at + m.last_event.head_len, len - m.last_event.head_len - 1)
    m.has_data = 1
    end_event(m)


cdef size_t walk_event(Meter *m, const char *at, size_t len, size_t *base) noexcept nogil:
    """Walk up to the first edge and learn from the event; returns its length."""
    cdef LineScan l
    l.data_at = l.n_data = 0
    m.last_event.head_len = m.last_event.tail_len = 0
    m.learning = LEARN_BEGUN
    len = walk_lines(m, at, len, &l, 1)
    if l.n_data == 1:
        base[0] = l.data_at
        learn_event(m, at, len, l.data_at)
    m.learning = LEARN_NOT
    return len


cdef void note_usage(const Meter *m, size_t base, uint64_t done, Event *e) noexcept nogil:
    """Note where the event that was walked has usage, or llama.cpp's timings. `base`: where its
    data begins, 0: it has several lines; `done`: the choices that had ended before."""
    e.ends_choice = m.choices_done != done
    if not m.seen & bit(FAMILY_USAGE):
        # llama.cpp sends them unrequested where a choice ends.
        e.is_timings = m.seen & bit(FACT_T_PREDICTED) != 0 and m.n_choices and not e.ends_choice
        if not e.is_timings:
            return
    else:
        e.is_usage_only = m.n_choices == 0 and m.type == TYPE_OTHER and not m.seen & (
            bit(FACT_CONTENT) | bit(FACT_ERROR) | bit(FACT_ERROR_CODE)
        )
    if base and m.walk.usage.end > m.walk.usage.begin:
        e.usage_at = <uint32_t>(base + m.walk.usage.begin)
        e.usage_end = <uint32_t>(base + m.walk.usage.end)


cdef size_t pass_event(Meter *m, const char *at, size_t len) noexcept nogil:
    """Pass an event that is not counted; only its being an event is noted."""
    cdef LineScan l
    return walk_lines(m, at, len, &l, 1)


cdef size_t meter_event(Meter *m, const char *at, size_t len, Event *e) noexcept nogil:
    """Read one event, [at, at + len), from edge to edge; returns the place of its first edge. That
    is `len`, unless a comment or a CR made one that event_end does not look for."""
    cdef size_t base = 0
    cdef uint64_t done
    cdef bint is_known
    e.usage_at = e.usage_end = e.is_usage_only = e.ends_choice = e.is_timings = 0
    if m.is_over:
        return pass_event(m, at, len) if m.is_uncounted else len
    is_known = fits_head(m, at, len)
    if is_known and fits_tail(m, at, len):
        m.n_events += 1
        count_text(m)
        return len
    m.walk.usage.end = 0
    done = m.choices_done
    if is_known and is_one_line(at + m.last_event.head_len, len - m.last_event.head_len - 2):
        base = m.last_event.head_len
        resume_event(m, at, len)
    else:
        m.seen = 0
        len = walk_event(m, at, len, &base)
    note_usage(m, base, done, e)
    return len


cdef size_t event_end(const char *at, size_t len) noexcept nogil:
    """Length of the event that begins at `at` and ends with an empty line, LF or CRLF; 0: its end
    is not here."""
    cdef size_t k = 0
    cdef const char *found
    while k + 1 < len:
        found = <const char *>memchr(at + k, c'\n', len - k - 1)
        if found == NULL:
            return 0
        k = <size_t>(found - at) + 1
        if at[k] == c'\n':
            return k + 1
        if at[k] == c'\r' and k + 1 < len and at[k + 1] == c'\n':
            return k + 2
    return 0


cdef void feed_events(Meter *m, const char *at, size_t len) noexcept nogil:
    cdef LineScan l
    cdef Event e
    cdef size_t n
    while len:
        n = event_end(at, len) if m.at_edge and not m.had_cr else 0
        if n:
            n = meter_event(m, at, n, &e)
        else:
            # The middle of an event, or other line ends: byte by byte, up to where one ends.
            n = walk_lines(m, at, len, &l, not m.at_edge)
        at += n
        len -= n


# ---------------------------------------------------------------- the whole body


cdef void meter_feed(Meter *m, const char *at, size_t len) noexcept nogil:
    """Read `len` > 0 bytes of the body, in any split."""
    if m.kind == KIND_EVENTS:
        feed_events(m, at, len)
    elif m.kind == KIND_JSON and not m.is_over:
        walk_feed(m, at, len)
    elif m.kind == KIND_LINES:
        walk_texts(m, at, len)
    elif m.kind == KIND_FRAMES:
        walk_frames(m, at, len)


cdef bint is_open(const Meter *m) noexcept nogil:
    """True if the JSON text being read has begun and not ended."""
    return m.walk.here.depth != 0 or m.walk.here.state != WALK_PLAIN


cdef bint meter_is_inside(const Meter *m) noexcept nogil:
    """True if a body that ends here ends inside a unit of it: an event, a line, a JSON text. An
    event or line that lacks nothing but its end is whole."""
    if m.kind == KIND_JSON:
        return is_open(m)
    if (m.kind != KIND_EVENTS and m.kind != KIND_LINES) or m.at_edge:
        return 0
    if m.line == LINE_COMMENT or m.done_len == 6 or (m.is_over and not m.is_uncounted):
        return 0
    # A level that was left is still in its place.
    return is_open(m) or m.walk.here.place[0] == SENSE_NONE


cdef size_t meter_resync(Meter *m, const char *at, size_t len) noexcept nogil:
    """Read the rest of an event whose start went by; returns the bytes read."""
    cdef LineScan l
    return walk_lines(m, at, len, &l, 1)


cdef void finish_last(Meter *m) noexcept nogil:
    """Count a last event or number without its end: the body ended well."""
    if m.kind == KIND_EVENTS and not m.is_blank:
        end_line(m)
    if m.kind == KIND_EVENTS or m.kind == KIND_LINES:
        end_event(m)


cdef int meter_end(Meter *m, bint is_whole, int status, Tokens *tokens) noexcept nogil:
    """Fill `tokens` at the end of the response; returns its Exactness."""
    tokens.prompt = tokens.completion = tokens.cached = tokens.reasoning = -1
    if m.kind == KIND_NONE or m.is_uncounted:
        return EXACTNESS_NONE
    if is_whole:
        finish_last(m)
    if status >= 400:
        return EXACTNESS_NONE
    return sum_tokens(m, tokens)


cdef int meter_finish_of(const Meter *m, bint is_whole, int status) noexcept nogil:
    """Finish of the response, after meter_end."""
    if (m.kind == KIND_NONE or m.is_uncounted) and status < 400:
        return FINISH_UNKNOWN
    if m.has_failed or status >= 400:
        return FINISH_ERROR
    if m.is_ended or (is_whole and m.is_single and m.n_roots):
        return FINISH_DONE
    # llama-box sends no [DONE]: every choice has finished, and so has the body.
    if is_whole and m.choices_seen and not m.choices_seen & ~m.choices_done:
        return FINISH_DONE
    return FINISH_CUT
