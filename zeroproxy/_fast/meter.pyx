"""What passes by in a response: where events end, and the usage the server reports.

Law 1. Resumable at every byte, bounded, and never a copy of the response.
Law 2. An edge is a blank line, in any of the three line ends SSE allows (LF, CRLF, CR).
Law 3. Usage beside an empty `choices`, or without any, is that of the whole request: several such
       objects add up (llama.cpp sends one per choice). Usage beside a choice is a running count of
       that choice and replaces the one before (vLLM's continuous_usage_stats). Neither "the last
       usage" nor "the sum of usages" would be right.

A read that is exactly whole events and does not hold `"usage"` is not walked: the bytes of that
word in quotes cannot stand inside a JSON string, so nothing can be missed.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memmove, memset

from zeroproxy._fast.jsonwalk cimport walk_begin, walk_feed
from zeroproxy._fast.meter cimport KIND_EVENTS, KIND_JSON, KIND_NONE
from zeroproxy._fast.meter_types cimport METER_CHOICES, Counts, Meter
from zeroproxy._fast.types cimport EXACT, LOWER_BOUND, NONE, Tokens


cdef extern from "scan.h" nogil:
    void *find "zp_find"(const void *at, size_t len, const void *word, size_t n) noexcept


cdef enum LineState:
    LINE_NAME = 0           # matching "data:"
    LINE_DATA
    LINE_OTHER              # another field, or a comment

cdef const char *DATA = b"data:"


cdef void forget(Counts *c) noexcept nogil:
    c.prompt = c.completion = c.cached = c.reasoning = -1


cdef void meter_begin(Meter *m, int kind) noexcept nogil:
    cdef int k
    memset(m, 0, sizeof(Meter))
    m.kind = <unsigned char>kind
    m.at_edge = 1
    walk_begin(&m.walk)
    forget(&m.usage)
    forget(&m.final)
    for k in range(METER_CHOICES):
        forget(&m.running[k])


# ---------------------------------------------------------------- folding


cdef inline int64_t added(int64_t a, int64_t b) noexcept nogil:
    return b if a < 0 else a if b < 0 else a + b


cdef inline int64_t first_of(int64_t a, int64_t b) noexcept nogil:
    return a if a >= 0 else b


cdef void fold_event(Meter *m) noexcept nogil:
    """An event (or the whole JSON text) has ended: what it reported finds its place."""
    cdef int k
    if m.has_usage and m.has_choices and m.kind == KIND_EVENTS:
        k = m.choice if m.choice < METER_CHOICES else METER_CHOICES - 1
        m.running[k] = m.usage
        if k >= m.n_choices:
            m.n_choices = <unsigned char>(k + 1)
    elif m.has_usage:
        m.has_final = 1
        m.final.prompt = first_of(m.final.prompt, m.usage.prompt)
        m.final.cached = first_of(m.final.cached, m.usage.cached)
        m.final.completion = added(m.final.completion, m.usage.completion)
        m.final.reasoning = added(m.final.reasoning, m.usage.reasoning)
    m.has_usage = m.has_choices = m.choice = 0
    walk_begin(&m.walk)


cdef int meter_end(Meter *m, bint is_whole, Tokens *tokens) noexcept nogil:
    """The response is over; fills `tokens` and returns its Exactness."""
    cdef Counts sum
    cdef int k
    tokens.prompt = tokens.completion = tokens.cached = tokens.reasoning = -1
    if m.kind == KIND_NONE:
        return NONE
    if m.kind == KIND_JSON or (is_whole and not m.at_edge):
        walk_feed(m, b" ", 1)
        fold_event(m)
    sum = m.final
    if not m.has_final:
        for k in range(m.n_choices):
            sum.prompt = first_of(sum.prompt, m.running[k].prompt)
            sum.cached = first_of(sum.cached, m.running[k].cached)
            sum.completion = added(sum.completion, m.running[k].completion)
            sum.reasoning = added(sum.reasoning, m.running[k].reasoning)
    tokens.prompt = sum.prompt
    tokens.completion = sum.completion
    tokens.cached = sum.cached
    tokens.reasoning = sum.reasoning
    if sum.prompt < 0 and sum.completion < 0:
        return NONE
    return EXACT if is_whole or m.has_final else LOWER_BOUND


# ---------------------------------------------------------------- lines


cdef void end_line(Meter *m, bint was_empty) noexcept nogil:
    if was_empty:
        fold_event(m)
    elif m.line == LINE_DATA:
        walk_feed(m, b"\n", 1)
    m.line = LINE_NAME
    m.matched = 0


cdef void walk_events(Meter *m, const char *at, size_t len) noexcept nogil:
    """Lines of an event stream; only what stands behind "data:" is JSON."""
    cdef size_t k, begin = 0
    for k in range(len):
        if at[k] == c'\n' or at[k] == c'\r':
            if m.line == LINE_DATA and k > begin:
                walk_feed(m, at + begin, k - begin)
            # The LF of a CRLF ends no second line.
            if at[k] == c'\r' or m.last != c'\r':
                end_line(m, m.line == LINE_NAME and m.matched == 0)
            begin = k + 1
        elif m.line == LINE_NAME:
            if m.matched < 5 and at[k] == DATA[m.matched]:
                m.matched += 1
                if m.matched == 5:
                    m.line = LINE_DATA
                    begin = k + 1
            else:
                m.line = LINE_OTHER
        m.last = at[k]
    if m.line == LINE_DATA and len > begin:
        walk_feed(m, at + begin, len - begin)


cdef void note_tail(Meter *m, const char *at, size_t len) noexcept nogil:
    if len >= 4:
        memcpy(m.tail, at + len - 4, 4)
    else:
        memmove(m.tail, m.tail + len, 4 - len)
        memcpy(m.tail + 4 - len, at, len)


cdef bint tail_is_edge(const Meter *m) noexcept nogil:
    if m.tail[3] == c'\n' and m.tail[2] == c'\n':
        return 1
    if m.tail[3] == c'\r' and m.tail[2] == c'\r':
        return 1
    return m.tail[3] == c'\n' and m.tail[2] == c'\r' and (
        m.tail[1] == c'\n' or m.tail[1] == c'\r'
    )


cdef void meter_feed(Meter *m, const char *at, size_t len) noexcept nogil:
    """`len` > 0 bytes of body data, in any split."""
    cdef bint began_at_edge = m.at_edge
    note_tail(m, at, len)
    m.at_edge = tail_is_edge(m)
    m.n_events += m.at_edge
    if m.kind == KIND_JSON:
        walk_feed(m, at, len)
    elif m.kind == KIND_EVENTS:
        if began_at_edge and m.at_edge and m.model_len and find(at, len, b'"usage"', 7) == NULL:
            m.last = at[len - 1]
        else:
            walk_events(m, at, len)
