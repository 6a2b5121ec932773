"""WebSocket frames from a server (RFC 6455 5.2): the text messages in them are JSON texts.

Law. Only looked at, never changed. An unreadable frame (compressed or masked) is stepped over by
     its length: metering then has nothing, relaying loses nothing.
Tests: tests/relay/test_sessions.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from zeroproxy._fast.types.meter cimport Meter
from zeroproxy._fast.usage.json_walk cimport walk_begin, walk_feed

cdef enum:
    FIN = 0x80
    COMPRESSED = 0x40       # RSV1, RFC 7692
    MASKED = 0x80
    IS_CONTROL = 0x08
    TEXT = 1


cdef size_t head_size(const Meter *m) noexcept nogil:
    """Bytes of the frame's head, as far as its first two are known."""
    cdef int size
    if m.name_len < 2:
        return 2
    size = m.name[1] & 0x7F
    return (10 if size == 127 else 4 if size == 126 else 2) + (4 if m.name[1] & MASKED else 0)


cdef void begin_frame(Meter *m) noexcept nogil:
    """Take the complete head of a frame: the length of its payload."""
    cdef int size = m.name[1] & 0x7F
    cdef int k, n = 8 if size == 127 else 2 if size == 126 else 0
    m.frame_left = 0 if n else size
    for k in range(n):
        m.frame_left = m.frame_left << 8 | <uint8_t>m.name[2 + k]
    m.name_len = 0
    if m.name[0] & IS_CONTROL:
        m.line = 0
    elif m.name[0] & COMPRESSED or m.name[1] & MASKED:
        m.line = 0
    elif m.name[0] & 0x0F:
        m.line = m.name[0] & 0x0F == TEXT
        walk_begin(m)
    # A continuation keeps its message's type. A control frame in between has reset `line`, but not
    # has_data.
    elif m.has_data:
        m.line = 1


cdef void end_frame(Meter *m) noexcept nogil:
    if not m.name[0] & IS_CONTROL:
        m.has_data = m.line and not m.name[0] & FIN
        if m.line and m.name[0] & FIN:
            m.n_events += 1


cdef void walk_frames(Meter *m, const char *at, size_t len) noexcept nogil:
    """Read frames from any byte to any byte."""
    cdef size_t k = 0, n
    while k < len:
        if m.frame_left == 0:
            m.name[m.name_len] = at[k]
            m.name_len += 1
            k += 1
            if m.name_len == head_size(m):
                begin_frame(m)
                if m.frame_left == 0:
                    end_frame(m)
            continue
        n = len - k if len - k < m.frame_left else <size_t>m.frame_left
        if m.line:
            walk_feed(m, at + k, n)
        m.frame_left -= n
        k += n
        if m.frame_left == 0:
            end_frame(m)
