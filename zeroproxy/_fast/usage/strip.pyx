"""Removal of usage from a response where the proxy requested it and the caller did not.

Law 1. Whole events only: a usage event without a choice goes as a whole, its blank line included.
       Usage or timings beside choices go with the comma in front of them. Every other byte stays
       what it was.
Law 2. In place: the remaining bytes move together, nothing is copied elsewhere.
Law 3. Each event is metered before anything is taken out of it.
Law 4. A comment waits for nothing. An event goes on with its end, whichever line ends it has.
Law 5. A caller that requests usage at the end gets it once. If running usage was requested too, the
       event that ends a choice waits (HeldEvent): its usage is running only if more usage follows.
Tests: tests/unit/test_strip.py, tests/relay/test_stripping.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t
from libc.string cimport memmove

from zeroproxy._fast.jsonscan.edits cimport EDITED_RUNNING, EDITED_TIMINGS, EDITED_USAGE
from zeroproxy._fast.types.meter cimport HeldEvent, Meter
from zeroproxy._fast.usage.response_meter cimport Event, event_end, meter_event, meter_resync
from zeroproxy._fast.usage.sse cimport line_end


cdef inline bint is_blank(char c) noexcept nogil:
    return c == c' ' or c == c'\n' or c == c'\t'


cdef void widen(const char *at, size_t n, Event *e) noexcept nogil:
    """Widen the cut: usage is the first member, so the comma behind it goes, not the brace."""
    if at[e.usage_at] != c'{':
        return
    e.usage_at += 1
    while e.usage_end < n and is_blank(at[e.usage_end]):
        e.usage_end += 1
    if e.usage_end < n and at[e.usage_end] == c',':
        e.usage_end += 1


cdef inline size_t keep_event(
    Meter *m, char *to, const char *at, size_t n, Event *e, int edited,
) noexcept nogil:
    """Move the remains of the event [at, at + n) to `to`; returns their length."""
    cdef size_t rest
    if e.is_usage_only and edited & EDITED_USAGE:
        # An LF that still comes is gone too.
        m.had_cr = 2 if m.had_cr else 0
        return 0
    if e.usage_end == 0 or e.is_usage_only \
            or not edited & (EDITED_TIMINGS if e.is_timings else EDITED_RUNNING):
        if to != at:
            memmove(to, at, n)
        return n
    widen(at, n, e)
    rest = n - e.usage_end
    if to != at:
        memmove(to, at, e.usage_at)
    memmove(to + e.usage_at, at + e.usage_end, rest)
    return e.usage_at + rest


cdef size_t edge_end(const char *at, size_t len) noexcept nogil:
    """Length of the comment line or the event that begins at `at`, whichever line ends it has. 0:
    its end is not here."""
    cdef size_t n, k = 0
    while k < len:
        n = k + line_end(at + k, len - k)
        if n == len:
            return 0
        n += 2 if n + 1 < len and at[n] == c'\r' and at[n + 1] == c'\n' else 1
        if at[k] == c'\n' or at[k] == c'\r' or at[0] == c':':
            return n
        k = n
    return 0


# ---------------------------------------------------------------- the event that waits


cdef size_t end_wait(HeldEvent *held, char *at, size_t kept, bint is_running) noexcept nogil:
    """Decide whose usage the waiting event, the last of [at, at + kept), has: running usage goes.
    Returns the bytes that are left."""
    cdef char *event = at + kept - held.len
    cdef Event e
    if is_running:
        e.usage_at = held.usage_at
        e.usage_end = held.usage_end
        widen(event, held.len, &e)
        memmove(event + e.usage_at, event + e.usage_end, held.len - e.usage_end)
        kept -= e.usage_end - e.usage_at
    held.len = 0
    return kept


cdef size_t weigh(
    Meter *m, HeldEvent *held, char *at, size_t kept, const char *event, size_t n, Event *e,
    int edited,
) noexcept nogil:
    """As keep_event, behind [at, at + kept), where the caller is to get usage at the end. Returns
    the bytes that are there then."""
    cdef bint is_idle = event[0] == c':' or event[0] == c'\n' or event[0] == c'\r'
    if held.len and not is_idle:
        kept = end_wait(held, at, kept, e.usage_end != 0 or e.is_usage_only)
    if e.usage_end == 0 or not e.ends_choice:
        n = keep_event(m, at + kept, event, n, e, edited)
        held.len += <uint32_t>n if held.len else 0
        return kept + n
    if at + kept != event:
        memmove(at + kept, event, n)
    held.len = <uint32_t>n
    held.usage_at = e.usage_at
    held.usage_end = e.usage_end
    return kept + n


# ---------------------------------------------------------------- one read


cdef size_t strip_events(
    Meter *m, int edited, HeldEvent *held, char *at, size_t len, size_t *left,
) noexcept nogil:
    """Meter the events in [at, at + len) and strip them in place; the first held.len bytes are
    metered already. Returns the bytes to send. Behind them held.len bytes wait: keep them for the
    next call. Keep behind these the `left` bytes at the end of the input: an event that goes on,
    not metered yet."""
    cdef size_t read = held.len, kept = held.len, n
    cdef Event e
    if not m.at_edge:
        # An event too long to be held, or a comment, is passing by.
        kept = read = meter_resync(m, at, len)
    elif m.had_cr and read < len:
        # A CR made the edge. An LF belongs to it, and goes where that went.
        if at[read] == c'\n':
            read += 1
            kept += m.had_cr == 1
            held.len += m.had_cr == 1 and held.len != 0
        m.had_cr = 0
    while read < len:
        n = event_end(at + read, len - read)
        if n == 0:
            n = edge_end(at + read, len - read)
        if n == 0:
            break
        n = meter_event(m, at + read, n, &e)
        if edited == EDITED_RUNNING:
            kept = weigh(m, held, at, kept, at + read, n, &e, edited)
        else:
            kept += keep_event(m, at + kept, at + read, n, &e, edited)
        read += n
    left[0] = len - read
    return kept - held.len
