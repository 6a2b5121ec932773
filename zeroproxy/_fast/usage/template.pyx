"""The template of an event. Most events of a response differ from the one before in a single text.
The bytes up to that text and behind it, head and tail, are known by a 64-bit hash and a length.

Law 1. An event is learnt only if it is one root, all of it on one line of data, with one text in
       that root. Its head must hold nothing that counts, so that nothing is lost by not
       reading it again. All other events are walked.
Law 2. An offset is trusted only if this event's walk has set it.
Tests: tests/unit/test_template.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memchr

from zeroproxy._fast.jsonscan.string_end_and_number cimport string_end
from zeroproxy._fast.types.meter cimport (
    FACT_CHOICES,
    FACT_CONTENT,
    FACT_INDEX,
    FACT_MODEL,
    FACT_NO_ID,
    FACT_OBJECT,
    FACT_PROMPT,
    FACT_TOKEN,
    FACT_TYPE,
    FAMILY_SPAN,
    TYPE_OTHER,
    TYPE_RESPONSE,
    Meter,
    bit,
    value_of,
)
from zeroproxy._fast.usage.template cimport LEARN_BEGUN, LEARN_NOT, LEARN_ROOT, LEARN_TEXT


cdef extern from "hash.h" nogil:
    uint64_t hash_bytes "zp_hash"(const void *at, size_t len) noexcept


# ---------------------------------------------------------------- while the walk goes on


cdef uint64_t plain_facts() noexcept nogil:
    """Facts by which nothing is counted, but that there is a text."""
    return (
        bit(FACT_CONTENT) | bit(FACT_CHOICES) | bit(FACT_MODEL) | bit(FACT_OBJECT)
        | bit(FACT_TYPE) | bit(FACT_INDEX) | bit(FACT_NO_ID)
        | bit(FAMILY_SPAN)
    )


cdef void learn_root_begins(Meter *m) noexcept nogil:
    if m.learning != LEARN_BEGUN:
        m.learning = LEARN_NOT


cdef void learn_text(Meter *m, size_t k) noexcept nogil:
    """Learn that a text that is not empty begins at offset k of the walked bytes."""
    if m.learning != LEARN_BEGUN or m.n_choices or m.seen & ~(plain_facts() | bit(FACT_TOKEN)):
        m.learning = LEARN_NOT
        return
    m.learning = LEARN_TEXT
    m.walk.content.begin = <uint32_t>k
    m.walk.content.end = 0
    m.last_event.here = m.walk.here
    m.last_event.seen = m.seen
    m.last_event.type = m.type
    m.last_event.index = <uint16_t>value_of(m, FACT_INDEX)


cdef void learn_root_ends(Meter *m) noexcept nogil:
    m.learning = LEARN_ROOT if m.learning == LEARN_TEXT else <int>LEARN_NOT
    m.last_event.is_plain = not m.seen & ~plain_facts() and m.type in (TYPE_OTHER, TYPE_RESPONSE)


# ---------------------------------------------------------------- whole events


cdef void learn_event(Meter *m, const char *at, size_t len, size_t data_at) noexcept nogil:
    """Learn from the event [at, at + len); its data is one line and begins at `data_at`."""
    cdef size_t end = data_at + m.walk.content.end
    if m.learning != LEARN_ROOT or m.walk.content.end <= m.walk.content.begin:
        return
    m.last_event.head_len = <uint32_t>(data_at + m.walk.content.begin)
    m.last_event.head_hash = hash_bytes(at, m.last_event.head_len)
    if m.last_event.is_plain:
        m.last_event.tail_len = <uint32_t>(len - end)
        m.last_event.tail_hash = hash_bytes(at + end, m.last_event.tail_len)


cdef bint is_one_line(const char *at, size_t len) noexcept nogil:
    return memchr(at, c'\n', len) == NULL and memchr(at, c'\r', len) == NULL


cdef bint fits_head(const Meter *m, const char *at, size_t len) noexcept nogil:
    return (
        m.last_event.head_len != 0 and len >= m.last_event.head_len + 2
        and hash_bytes(at, m.last_event.head_len) == m.last_event.head_hash
    )


cdef bint fits_tail(const Meter *m, const char *at, size_t len) noexcept nogil:
    """True if the text that begins behind the head is followed by exactly the tail."""
    cdef bint is_escaped = 0
    cdef size_t n, head = m.last_event.head_len
    if m.last_event.tail_len == 0 or len <= head + m.last_event.tail_len:
        return 0
    n = string_end(at + head, len - head, &is_escaped)
    return 0 < n == len - head - m.last_event.tail_len and is_one_line(at + head, n) \
        and hash_bytes(at + head + n, m.last_event.tail_len) == m.last_event.tail_hash


cdef void resume(Meter *m) noexcept nogil:
    """Set the walk to where the head ends, as if it had been walked."""
    m.walk.here = m.last_event.here
    m.walk.text_len = 0
    m.walk.comma = <uint32_t>-1     # it lies in the head: usage without one of its own stays
    m.type = m.last_event.type
    m.seen = m.last_event.seen
    m.value[FACT_INDEX - FACT_PROMPT] = m.last_event.index
    m.n_choices = 0
    m.first_index = 0
