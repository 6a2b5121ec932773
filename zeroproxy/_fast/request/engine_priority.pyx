"""The priority of the caller's key, in the field in which the engine takes one.

Note. A key's 0 to 9 become -5 to 4 for vLLM, where a lower number is served earlier. They become 5
      to -4 for SGLang, where a higher one is. A key's 5 is an engine's default 0, and sends
      nothing. vLLM may refuse or ignore another number without its policy priority.
Tests: tests/relay/test_engine_terms.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from zeroproxy._fast.http1.grammar cimport Cursor, is_word
from zeroproxy._fast.types.http cimport FIELD_OTHER, Field, Head
from zeroproxy._fast.types.key_terms cimport (
    PRIORITY_FIELD_COUNT,
    PRIORITY_FIELD_NONE,
    PRIORITY_FIELD_SGLANG,
)
from zeroproxy._fast.types.plane cimport Relay

cdef enum:
    PRIORITY_USUAL = 5      # of a key without one

cdef const char* NAMES[PRIORITY_FIELD_COUNT]
NAMES[:] = [b"", b"x-vllm-priority", b"x-override-priority"]
cdef uint8_t[PRIORITY_FIELD_COUNT] LENGTHS = [0, 15, 19]


cdef size_t write_priority(const Relay *r, Head *h, char *out) noexcept nogil:
    cdef uint8_t which = r.x.upstream.terms.priority_field
    cdef size_t n = LENGTHS[which]
    cdef int value, i
    cdef Field *f
    if which == PRIORITY_FIELD_NONE:
        return 0
    for i in range(h.n_fields):
        f = &h.fields[i]
        if f.id == FIELD_OTHER and is_word(<Cursor>h.base + f.name_at, f.name_len, NAMES[which], n):
            f.nominated = 1
    if r.x.key == NULL or r.x.priority == PRIORITY_USUAL:
        return 0
    value = r.x.priority - <int>PRIORITY_USUAL
    if which == PRIORITY_FIELD_SGLANG:
        value = -value
    memcpy(out, NAMES[which], n)
    memcpy(out + n, b": -", 3)
    n += 2 + (value < 0)
    out[n] = <char>(48 + (value if value > 0 else -value))
    memcpy(out + n + 1, b"\r\n", 2)
    return n + 3
