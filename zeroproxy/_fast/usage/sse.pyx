"""The lines of an event stream, as the HTML standard (9.2.6) reads them, cut anywhere.

Law 1. A line ends with LF, CR or CRLF; an empty one ends an event. Only `data` is JSON, and several
       such lines are one text; `error` is data too, under the name some servers gave it.
Law 2. Bytes behind [DONE] are not counted.
Law 3. A comment line at an edge leads from edge to edge: no event has begun. An edge that a CR made
       is one at once; an LF that comes next belongs to it.
Law 4. Comments, events without data and pings are no events: they are no sign of the engine. They
       count neither against its silence nor as its first content.
Tests: tests/unit/test_meter.py, tests/relay/test_first_content.py.
"""

from libc.stddef cimport size_t
from libc.string cimport memchr, memcmp

from zeroproxy._fast.types.meter cimport WATCH_QUIET, Meter
from zeroproxy._fast.usage.json_walk cimport walk_begin, walk_feed
from zeroproxy._fast.usage.sse cimport (
    LINE_COMMENT,
    LINE_DATA,
    LINE_EVENT,
    LINE_NAME,
    LINE_OTHER,
    LineScan,
)

cdef const char *DONE = b"[DONE]"


cdef void match_done(Meter *m, const char *at, size_t len) noexcept nogil:
    """Match an event's data with [DONE]. done_len 6: it is equal; 7: it differs."""
    cdef size_t k
    for k in range(len):
        if m.done_len == 0 and at[k] == c' ':
            continue
        if m.done_len < 6 and at[k] == DONE[m.done_len]:
            m.done_len += 1
        else:
            m.done_len = 7
        if m.done_len == 7:
            return


cdef void take_data(Meter *m, const char *at, size_t len) noexcept nogil:
    m.has_data = 1
    if m.done_len < 7:
        match_done(m, at, len)
    if not m.is_over:
        walk_feed(m, at, len)


cdef void name_line(Meter *m) noexcept nogil:
    """Take a colon: the field's name is complete."""
    cdef const char *name = m.name
    cdef size_t n = m.name_len
    if n >= 3 and m.n_events == 0 and memcmp(name, b"\xef\xbb\xbf", 3) == 0:
        name += 3
        n -= 3
    m.line = LINE_OTHER
    if n == 4 and memcmp(name, b"data", 4) == 0:
        m.line = LINE_DATA
    elif n == 5 and memcmp(name, b"event", 5) == 0:
        m.line = LINE_EVENT
    elif n == 0:
        m.watch |= WATCH_QUIET
    elif n == 5 and memcmp(name, b"error", 5) == 0:
        # llama-box and older llama.cpp.
        m.has_failed |= not m.is_over
        m.line = LINE_DATA
    m.name_len = 0


cdef void take_name(Meter *m, char c) noexcept nogil:
    """Take a byte of a field's name, or of an event's (the colon's blank left out)."""
    if m.name_len < sizeof(m.name):
        m.name[m.name_len] = c
        m.name_len += 1


cdef inline bint is_equal_word(
    const char *at, size_t len, const char *word, size_t n,
) noexcept nogil:
    return len == n and memcmp(at, word, n) == 0


cdef void end_event(Meter *m) noexcept nogil:
    if not m.has_data or m.is_ping:
        m.watch |= WATCH_QUIET
    else:
        if not m.is_prelude:
            m.has_begun = 1
        if not m.is_over or m.is_uncounted:
            m.n_events += 1
    m.has_data = m.is_ping = m.is_prelude = 0
    m.done_len = 0
    walk_begin(m)


cdef void end_line(Meter *m) noexcept nogil:
    if m.is_blank:
        end_event(m)
        m.at_edge = 1
    elif m.line == LINE_DATA:
        if m.done_len == 6:
            m.is_over = m.is_ended = 1
        else:
            walk_feed(m, b"\n", 1)
    elif m.line == LINE_EVENT:
        name_event(m, m.name, m.name_len)
    elif m.line == LINE_COMMENT:
        m.at_edge = 1
    m.line = LINE_NAME
    m.name_len = 0
    m.is_blank = 1


cdef void name_event(Meter *m, const char *name, size_t n) noexcept nogil:
    """Take the line that names an event, which has ended."""
    if n == 5 and memcmp(name, b"error", 5) == 0:
        m.has_failed |= not m.is_over
    elif is_equal_word(name, n, b"ping", 4) or is_equal_word(name, n, b"heartbeat", 9) \
            or is_equal_word(name, n, b"keepalive", 9) or is_equal_word(name, n, b"keep-alive", 10):
        m.is_ping = 1


cdef size_t line_end(const char *at, size_t len) noexcept nogil:
    """Offset of the first LF or CR; `len`: none."""
    cdef const char *found = <const char *>memchr(at, c'\n', len)
    cdef const char *cr
    if found != NULL:
        len = <size_t>(found - at)
    cr = <const char *>memchr(at, c'\r', len)
    return len if cr == NULL else <size_t>(cr - at)


cdef size_t step_line(Meter *m, const char *at, size_t k, size_t len, LineScan *l) noexcept nogil:
    """Read the rest of a line whose field is known; returns the offset behind it, at its end."""
    cdef size_t n = line_end(at + k, len - k)
    cdef size_t i
    if m.line == LINE_DATA:
        l.data_at = k
        l.n_data += 1
        take_data(m, at + k, n)
    elif m.line == LINE_EVENT:
        for i in range(n):
            if m.name_len or at[k + i] != c' ':
                take_name(m, at[k + i])
    return k + n


cdef inline size_t step_byte(
    Meter *m, const char *at, size_t k, size_t len, LineScan *l,
) noexcept nogil:
    """Read a byte that ends no line, or the part of its line of one kind; returns the offset
    behind."""
    if m.line != LINE_NAME:
        m.is_blank = m.at_edge = 0
        return step_line(m, at, k, len, l)
    if at[k] != c':':
        take_name(m, at[k])
    elif m.at_edge:
        m.line = LINE_COMMENT
        m.watch |= WATCH_QUIET
    else:
        name_line(m)
    m.is_blank = m.at_edge = 0
    return k + 1


cdef size_t walk_lines(
    Meter *m, const char *at, size_t len, LineScan *l, bint to_edge,
) noexcept nogil:
    """Read lines of an event stream, from any byte to any byte, or `to_edge`: up to the next edge.
    Returns the bytes read."""
    cdef size_t k = 0
    cdef char c
    while k < len:
        c = at[k]
        if m.had_cr:
            m.had_cr = 0
            if c == c'\n':
                # The LF of a CRLF ends no second line.
                k += 1
                if to_edge and m.at_edge:
                    break
                continue
            if to_edge and m.at_edge and k:
                break
        if c == c'\n' or c == c'\r':
            m.had_cr = c == c'\r'
            end_line(m)
            k += 1
            if to_edge and m.at_edge and not m.had_cr:
                break
            continue
        k = step_byte(m, at, k, len, l)
    return k
