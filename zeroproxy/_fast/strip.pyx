"""Taking out of a response what the proxy asked for and the caller did not.

Law 1. Whole events only: the closing usage event goes as a whole, its blank line included; usage
       or timings beside choices go with the comma in front of them. Every other byte stays what it
       was.
Law 2. In place: what stays moves together, nothing is copied elsewhere.
Law 3. Each event is metered before anything is taken out of it.
"""

from libc.stddef cimport size_t
from libc.string cimport memmove

from zeroproxy._fast.asked cimport EDITED_RUNNING, EDITED_TIMINGS, EDITED_USAGE
from zeroproxy._fast.meter cimport Event, event_end, meter_event, meter_resync
from zeroproxy._fast.meter_types cimport Meter


cdef inline bint is_blank(char c) noexcept nogil:
    return c == c' ' or c == c'\n' or c == c'\t'


cdef void widen(const char *at, size_t n, Event *e) noexcept nogil:
    """Usage is the first member: the comma behind it goes instead of the brace in front of it."""
    if at[e.usage_at] != c'{':
        return
    e.usage_at += 1
    while e.usage_end < n and is_blank(at[e.usage_end]):
        e.usage_end += 1
    if e.usage_end < n and at[e.usage_end] == c',':
        e.usage_end += 1


cdef size_t keep_event(char *to, const char *at, size_t n, Event *e, int edited) noexcept nogil:
    """Move what is left of the event [at, at + n) to `to`; returns its length."""
    cdef size_t rest
    if e.is_usage_only and edited & EDITED_USAGE:
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


cdef size_t strip_events(
    Meter *m, int edited, char *at, size_t len, size_t *left,
) noexcept nogil:
    """Meter the events in [at, at + len) and strip them in place. Returns how many bytes are to be
    sent; `left` bytes at the end of the input are an event that goes on: keep them for the next
    call, not metered yet."""
    cdef size_t read = 0, kept = 0, n
    cdef Event e
    if not m.at_edge:
        # An event too long to be held is passing by.
        kept = read = meter_resync(m, at, len)
    while read < len:
        n = event_end(at + read, len - read)
        if n == 0:
            break
        meter_event(m, at + read, n, &e)
        kept += keep_event(at + kept, at + read, n, &e, edited)
        read += n
    left[0] = len - read
    return kept
