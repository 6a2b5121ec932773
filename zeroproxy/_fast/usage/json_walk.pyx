"""A resumable walk through JSON text. It keeps only keys and values that count.

Law 1. Any split, no buffer: a key or a word that matters is at most WALK_TEXT bytes long. All else
       is only stepped over, strings by memchr.
Law 2. A name means something only where dialects.pyx lists it. Text inside strings, and the same
       name anywhere else (logprobs with token texts as keys), is never looked at.
Law 3. Malformed text cannot hurt: depth and lengths are bounded, unknown bytes are stepped over.
Tests: tests/unit/test_meter.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcmp, memcpy, memset

from zeroproxy._fast.jsonscan.string_end_and_number cimport (
    Member,
    is_member,
    number_end,
    parse_count,
    skip_level,
    skip_to,
    string_end,
)
from zeroproxy._fast.jsonscan.strings cimport name_clear, name_end, name_feed
from zeroproxy._fast.types.meter cimport (
    COUNT_MAX,
    FACT_CONTENT,
    FACT_DONE,
    FACT_ERROR,
    FACT_FINISH,
    FACT_GENERATED,
    FACT_META_ID,
    FACT_MODEL,
    FACT_NO_ID,
    FACT_NUMBERS,
    FACT_OBJECT,
    FACT_PROMPT,
    FACT_TOTAL,
    FACT_TYPE,
    FAMILY_SPAN,
    PLACE_DELTA,
    PLACE_RESPONSE,
    PLACE_ROOT,
    SENSE_NONE,
    WALK_DEPTH,
    WALK_TEXT,
    Meter,
    Walk,
    bit,
)
from zeroproxy._fast.usage.dialects cimport Name, has_names, name_in, type_of
from zeroproxy._fast.usage.json_levels cimport close_level, next_member, open_level, place_now
from zeroproxy._fast.usage.json_walk cimport (
    WALK_ESCAPE,
    WALK_NUMBER,
    WALK_PLAIN,
    WALK_STRING,
    marks_now,
)
from zeroproxy._fast.usage.template cimport learn_text


cdef void walk_begin(Meter *m) noexcept nogil:
    """Start with the next JSON text; levels left open are forgotten."""
    memset(&m.walk.here, 0, sizeof(m.walk.here))
    m.walk.here.sense = PLACE_ROOT


# ---------------------------------------------------------------- strings


cdef void learn_name(Meter *m, const char *at, size_t len) noexcept nogil:
    """Take a key that has ended."""
    cdef Walk *w = &m.walk
    cdef const Name *name = name_in(place_now(w), at, len)
    if name == NULL:
        w.here.sense = SENSE_NONE
        return
    w.here.sense = name.sense
    if name.family:
        m.seen |= bit(name.family)
        if name.family == FAMILY_SPAN:
            w.usage.begin = w.comma
            w.usage.end = 0


cdef void hash_id(Meter *m, const char *at, size_t len) noexcept nogil:
    """FNV-1a of an id, piece by piece."""
    cdef size_t k
    for k in range(len):
        m.meta_id = (m.meta_id ^ <uint8_t>at[k]) * <uint32_t>16777619


cdef void take_word(Meter *m, int sense, const char *at, size_t len) noexcept nogil:
    """Take a string that is kept and has ended."""
    m.seen |= bit(sense)
    if sense == FACT_TYPE:
        m.type = <uint8_t>type_of(at, len)
    elif sense == FACT_OBJECT and len == 5 and memcmp(at, b"error", 5) == 0:
        m.seen |= bit(FACT_ERROR)


cdef void take_text(Meter *m, int sense, bint is_empty) noexcept nogil:
    """Take a string that has ended, and of which only the presence counts."""
    if sense == FACT_GENERATED or sense == FACT_ERROR:
        m.seen |= bit(sense)
    elif is_empty and sense == FACT_NO_ID:
        m.seen |= bit(FACT_NO_ID)
    elif not is_empty and sense == FACT_FINISH:
        m.seen |= bit(FACT_FINISH)
    elif not is_empty and sense in (FACT_CONTENT, PLACE_RESPONSE, PLACE_DELTA):
        m.seen |= bit(FACT_CONTENT)


cdef inline bint is_word(const Meter *m, int sense) noexcept nogil:
    """True if the bytes of such a string matter."""
    if sense == FACT_MODEL:
        return m.model != NULL and (m.model.len == 0 or m.is_model_requested)
    return sense == FACT_TYPE or sense == FACT_OBJECT or sense == FACT_META_ID


cdef void keep(Meter *m, const char *at, size_t len) noexcept nogil:
    """Keep a piece of a key, a word or a number that goes on."""
    cdef Walk *w = &m.walk
    cdef size_t room
    if not w.here.is_key and w.here.sense == FACT_MODEL:
        name_feed(m.model, at, len)
    elif not w.here.is_key and w.here.sense == FACT_META_ID:
        hash_id(m, at, len)
    elif w.text_len <= WALK_TEXT:
        room = WALK_TEXT - w.text_len
        memcpy(w.text + w.text_len, at, len if len < room else room)
        w.text_len = <uint8_t>(w.text_len + len if len <= room else WALK_TEXT + 1)


cdef size_t begin_string(Meter *m, const char *at, size_t k, size_t len) noexcept nogil:
    """Read from behind an opening quote; returns the offset behind the closing one, or `len`."""
    cdef Walk *w = &m.walk
    w.here.state = WALK_STRING
    w.text_len = 0
    w.here.is_wanted = has_names(place_now(w)) if w.here.is_key else is_word(m, w.here.sense)
    if not w.here.is_key:
        if w.here.sense == FACT_CONTENT and k < len and at[k] != c'"':
            learn_text(m, k)
        elif w.here.sense == FACT_META_ID:
            m.meta_id = <uint32_t>2166136261
        elif w.here.is_wanted and w.here.sense == FACT_MODEL:
            m.is_model_requested = 0
            name_clear(m.model)
    return step_string(m, at, k, len)


cdef size_t step_string(Meter *m, const char *at, size_t k, size_t len) noexcept nogil:
    """Read bytes of a string from offset k; returns the offset behind it, or `len`."""
    cdef Walk *w = &m.walk
    cdef bint is_escaped = w.here.state == WALK_ESCAPE
    cdef bint is_whole = w.text_len == 0
    cdef size_t n = string_end(at + k, len - k, &is_escaped)
    if k + n == len:
        if w.here.is_wanted:
            keep(m, at + k, n)
        elif n:
            w.text_len = 1
        w.here.state = WALK_ESCAPE if is_escaped else <int>WALK_STRING
        return len
    w.here.state = WALK_PLAIN
    if w.here.is_wanted:
        end_word(m, at + k, n, is_whole)
    elif not w.here.is_key:
        if w.here.sense == FACT_CONTENT and w.content.end == 0:
            w.content.end = <uint32_t>(k + n)
        take_text(m, w.here.sense, n == 0 and is_whole)
    k += n + 1
    return step_plain(m, at, k, len) if w.here.is_key and k < len and at[k] == c':' else k


cdef void end_word(Meter *m, const char *at, size_t len, bint is_whole) noexcept nogil:
    """Take the last piece of a key or word, `is_whole`: also the first."""
    cdef Walk *w = &m.walk
    cdef int sense = w.here.sense
    if not is_whole or (not w.here.is_key and (sense == FACT_MODEL or sense == FACT_META_ID)):
        keep(m, at, len)
        if not w.here.is_key and sense == FACT_MODEL:
            name_end(m.model)
        at = w.text
        len = w.text_len
    if w.here.is_key:
        learn_name(m, at, len)
    else:
        take_word(m, sense, at, len)


# ---------------------------------------------------------------- numbers


cdef void end_number(Meter *m, const char *at, size_t len) noexcept nogil:
    cdef int64_t n
    cdef int fact = m.walk.here.sense
    m.walk.here.state = WALK_PLAIN
    if fact == FACT_TOTAL and not m.is_single:
        return
    n = parse_count(at, len)
    if n > <int64_t>COUNT_MAX:
        n = <int64_t>COUNT_MAX
    if n >= 0:
        m.value[fact - FACT_PROMPT] = n
        m.seen |= bit(fact)


cdef size_t step_number(Meter *m, const char *at, size_t k, size_t len) noexcept nogil:
    """Read bytes of a number that counts, from offset k; returns the offset behind it."""
    cdef Walk *w = &m.walk
    cdef size_t end = number_end(at, k, len)
    if end == len or w.text_len:
        keep(m, at + k, end - k)
        if end < len:
            end_number(m, w.text, w.text_len)
        return end
    end_number(m, at + k, end - k)
    return end


# ---------------------------------------------------------------- whole members


cdef void take_scalar(Meter *m, const char *at, size_t len) noexcept nogil:
    """Take a number, true, false or null that is all here."""
    cdef int sense = m.walk.here.sense
    if FACT_PROMPT <= sense < FACT_NUMBERS:
        if c'0' <= at[0] <= c'9' or at[0] == c'-':
            end_number(m, at, len)
    elif sense == FACT_DONE and at[0] == c't':
        m.seen |= bit(FACT_DONE)


cdef size_t step_members(Meter *m, const char *at, size_t k, size_t len) noexcept nogil:
    """Read members from a name's opening quote on, as long as each is all here. Returns the offset
    of the rest. The result is the same as byte by byte, without the steps."""
    cdef Walk *w = &m.walk
    cdef Member it
    while k < len and at[k] == c'"' and is_member(at, k, len, &it):
        learn_name(m, at + it.name, it.name_len)
        w.here.is_key = 0
        if at[it.value] == c'{' or at[it.value] == c'[':
            return it.value
        if w.here.sense != SENSE_NONE:
            if at[it.value] == c'"':
                begin_string(m, at, it.value + 1, len)
            else:
                take_scalar(m, at + it.value, it.end - it.value)
        if at[it.end] == c',':
            next_member(w, <uint32_t>it.end)
        k = it.next
    return k


# ---------------------------------------------------------------- the walk


cdef size_t step_plain(Meter *m, const char *at, size_t k, size_t len) noexcept nogil:
    """Read one byte between tokens, and the token it begins; returns the offset behind it."""
    cdef Walk *w = &m.walk
    cdef char c = at[k]
    cdef int sense
    if c == c'"':
        return begin_string(m, at, k + 1, len)
    if c == c':':
        w.here.is_key = 0
    elif c == c',':
        next_member(w, <uint32_t>k)
    elif c == c'{' or c == c'[':
        open_level(m, c == c'{', <uint32_t>k)
    elif c == c'}' or c == c']':
        close_level(m, <uint32_t>k)
        return k + 1
    else:
        sense = w.here.sense
        if sense >= FACT_PROMPT and not w.here.is_key:
            if sense < FACT_NUMBERS and (c'0' <= c <= c'9' or c == c'-'):
                w.here.state = WALK_NUMBER
                w.text_len = 0
                return step_number(m, at, k, len)
            if sense == FACT_DONE and c == c't':
                m.seen |= bit(FACT_DONE)
        return k + 1
    # Mostly a name follows at once.
    if k + 1 < len and at[k + 1] == c'"':
        return k + 1 if w.here.is_key else begin_string(m, at, k + 2, len)
    return k + 1


cdef size_t leave_level(Walk *w, const char *at, size_t k, size_t len) noexcept nogil:
    """Skip to where a level without meaning ends, or as far as one look goes."""
    cdef uint32_t depth = w.here.depth
    k = skip_level(at, k, len, &w.here.depth)
    while depth < w.here.depth and depth < WALK_DEPTH:
        w.here.place[depth] = SENSE_NONE
        depth += 1
    return k


cdef void walk_feed(Meter *m, const char *at, size_t len) noexcept nogil:
    """Walk over the next bytes. Facts go to m.seen and m.value, and to the accumulator whenever a
    root object ends."""
    cdef size_t k = 0
    while k < len:
        if m.walk.here.state == WALK_PLAIN:
            if m.walk.here.depth and place_now(&m.walk) == SENSE_NONE:
                k = leave_level(&m.walk, at, k, len)
            else:
                k = skip_to(at, k, len, marks_now(&m.walk))
                if k < len and m.walk.here.is_key:
                    k = step_members(m, at, k, len)
            if k < len:
                k = step_plain(m, at, k, len)
        elif m.walk.here.state == WALK_NUMBER:
            k = step_number(m, at, k, len)
        else:
            k = step_string(m, at, k, len)
