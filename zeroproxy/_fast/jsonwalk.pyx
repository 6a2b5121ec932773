"""A resumable walk through JSON text that keeps only what is counted.

Law 1. One byte at a time, any split, no buffer: a key or a value that matters is at most WALK_TEXT
       bytes long, everything else is only stepped over.
Law 2. A name means something only where it stands: `usage` counts at depth 1 or directly under
       `message` or `response`, and only if its value is an object. Text inside strings, and the
       same name anywhere else (logprobs keyed by token text), is never looked at.
Law 3. Malformed text cannot hurt: depth and lengths are bounded, unknown bytes are stepped over.
"""

from libc.stddef cimport size_t
from libc.string cimport memchr, memcmp, memcpy, memset

from zeroproxy._fast.jsonwalk cimport (
    PLACE_CACHED,
    PLACE_CARRIER,
    PLACE_CHOICE,
    PLACE_CHOICES,
    PLACE_COMPLETION,
    PLACE_DETAILS,
    PLACE_INDEX,
    PLACE_MODEL,
    PLACE_NONE,
    PLACE_PROMPT,
    PLACE_REASONING,
    PLACE_ROOT,
    PLACE_USAGE,
)
from zeroproxy._fast.meter_types cimport WALK_DEPTH, WALK_TEXT, Meter, Walk

cdef enum WalkState:
    WALK_VALUE = 0          # between tokens
    WALK_STRING
    WALK_ESCAPE             # behind a backslash inside a string
    WALK_NUMBER
    WALK_FRACTION           # the rest of a number that is no integer: not a count


cdef void walk_begin(Walk *w) noexcept nogil:
    memset(w, 0, sizeof(Walk))
    w.next_place = PLACE_ROOT


cdef inline bint is_word(const Walk *w, const char *word, size_t n) noexcept nogil:
    return w.text_len == n and memcmp(w.text, word, n) == 0


cdef int place_in_usage(const Walk *w) noexcept nogil:
    if is_word(w, b"prompt_tokens", 13) or is_word(w, b"input_tokens", 12):
        return PLACE_PROMPT
    if is_word(w, b"completion_tokens", 17) or is_word(w, b"output_tokens", 13):
        return PLACE_COMPLETION
    if is_word(w, b"prompt_tokens_details", 21) or is_word(w, b"input_tokens_details", 20):
        return PLACE_DETAILS
    if is_word(w, b"completion_tokens_details", 25) or is_word(w, b"output_tokens_details", 21):
        return PLACE_DETAILS
    return PLACE_NONE


cdef int place_of(const Walk *w, int parent) noexcept nogil:
    """What the key just read means inside `parent`."""
    if parent == PLACE_ROOT or parent == PLACE_CARRIER:
        if is_word(w, b"usage", 5):
            return PLACE_USAGE
        if is_word(w, b"model", 5):
            return PLACE_MODEL
        if parent == PLACE_CARRIER:
            return PLACE_NONE
        if is_word(w, b"choices", 7):
            return PLACE_CHOICES
        if is_word(w, b"message", 7) or is_word(w, b"response", 8):
            return PLACE_CARRIER
    elif parent == PLACE_USAGE:
        return place_in_usage(w)
    elif parent == PLACE_DETAILS:
        if is_word(w, b"cached_tokens", 13):
            return PLACE_CACHED
        if is_word(w, b"reasoning_tokens", 16):
            return PLACE_REASONING
    elif parent == PLACE_CHOICE and is_word(w, b"index", 5):
        return PLACE_INDEX
    return PLACE_NONE


cdef inline int parent_of(const Walk *w) noexcept nogil:
    return w.place[w.depth - 1] if 0 < w.depth <= WALK_DEPTH else PLACE_NONE


cdef void open_level(Meter *m, bint is_object) noexcept nogil:
    cdef Walk *w = &m.walk
    cdef int place = w.next_place
    if place == PLACE_USAGE and is_object:
        m.has_usage = 1
        m.usage.prompt = m.usage.completion = m.usage.cached = m.usage.reasoning = -1
    elif place == PLACE_CHOICE and is_object:
        m.has_choices = 1
    elif (place == PLACE_CHOICES) == is_object or place >= PLACE_MODEL:
        place = PLACE_NONE
    if w.depth < WALK_DEPTH:
        w.place[w.depth] = <unsigned char>place
    w.depth += 1
    w.is_key = is_object
    w.next_place = PLACE_CHOICE if place == PLACE_CHOICES else PLACE_NONE


cdef void close_level(Walk *w) noexcept nogil:
    if w.depth:
        w.depth -= 1
    w.is_key = 0
    w.next_place = PLACE_NONE


cdef void end_string(Meter *m) noexcept nogil:
    """A string that was wanted has ended."""
    cdef Walk *w = &m.walk
    if w.is_key:
        w.next_place = <unsigned char>place_of(w, parent_of(w))
    elif w.next_place == PLACE_MODEL and not m.model_len and w.text_len <= WALK_TEXT:
        m.model_len = w.text_len
        memcpy(m.model, w.text, w.text_len)


cdef void end_number(Meter *m) noexcept nogil:
    cdef Walk *w = &m.walk
    cdef int place = w.next_place
    if w.negative:
        return
    if place == PLACE_PROMPT:
        m.usage.prompt = w.number
    elif place == PLACE_COMPLETION:
        m.usage.completion = w.number
    elif place == PLACE_CACHED:
        m.usage.cached = w.number
    elif place == PLACE_REASONING:
        m.usage.reasoning = w.number
    elif place == PLACE_INDEX and w.number < 256:
        m.choice = <unsigned char>w.number


cdef void begin_token(Meter *m, char byte) noexcept nogil:
    """A byte between tokens."""
    cdef Walk *w = &m.walk
    if byte == c'"':
        w.state = WALK_STRING
        w.text_len = 0
        w.is_wanted = parent_of(w) != PLACE_NONE if w.is_key else w.next_place == PLACE_MODEL
    elif byte == c'{' or byte == c'[':
        open_level(m, byte == c'{')
    elif byte == c'}' or byte == c']':
        close_level(w)
    elif byte == c':':
        w.is_key = 0
    elif byte == c',':
        # Inside an array the next element means what this one did.
        if parent_of(w) == PLACE_CHOICES:
            w.next_place = PLACE_CHOICE
        else:
            w.is_key = 1
            w.next_place = PLACE_NONE
    elif c'0' <= byte <= c'9' or byte == c'-':
        w.state = WALK_NUMBER
        w.negative = byte == c'-'
        w.number = 0 if w.negative else byte - c'0'


cdef inline void keep(Walk *w, char byte) noexcept nogil:
    if w.text_len < WALK_TEXT:
        w.text[w.text_len] = byte
        w.text_len += 1
    else:
        w.text_len = WALK_TEXT + 1


cdef size_t skip_string(Walk *w, const char *at, size_t len) noexcept nogil:
    """Step over a string nobody asks for, up to and including its closing quote."""
    cdef size_t from_ = 0, back
    cdef const char *quote
    if w.state == WALK_ESCAPE and len:
        w.state = WALK_STRING
        from_ = 1
    while from_ < len:
        quote = <const char *>memchr(at + from_, c'"', len - from_)
        back = <size_t>(quote - at) if quote != NULL else len
        while back > from_ and at[back - 1] == c'\\':
            back -= 1
        # An odd run of backslashes escapes what follows: this quote, or the first byte to come.
        if quote == NULL:
            w.state = WALK_ESCAPE if (len - back) & 1 else WALK_STRING
            return len
        from_ = <size_t>(quote - at) + 1
        if not (from_ - 1 - back) & 1:
            w.state = WALK_VALUE
            return from_
    return len


cdef size_t keep_string(Meter *m, const char *at, size_t len) noexcept nogil:
    """Read a key or a value that matters, up to and including its closing quote."""
    cdef Walk *w = &m.walk
    cdef size_t k
    for k in range(len):
        if w.state == WALK_ESCAPE:
            w.state = WALK_STRING
            keep(w, at[k])
        elif at[k] == c'\\':
            # A key with an escape in it is kept with its backslash: it equals no name of ours.
            w.state = WALK_ESCAPE
            keep(w, c'\\')
        elif at[k] == c'"':
            w.state = WALK_VALUE
            end_string(m)
            return k + 1
        else:
            keep(w, at[k])
    return len


cdef size_t step_string(Meter *m, const char *at, size_t len) noexcept nogil:
    """Bytes of a string, up to its end; returns how many were used."""
    if m.walk.is_wanted:
        return keep_string(m, at, len)
    return skip_string(&m.walk, at, len)


cdef void step_number(Meter *m, char byte) noexcept nogil:
    cdef Walk *w = &m.walk
    if c'0' <= byte <= c'9':
        if w.state == WALK_NUMBER and w.number < <long long>100000000000000:
            w.number = w.number * 10 + (byte - c'0')
        return
    if byte == c'.' or byte == c'e' or byte == c'E' or byte == c'+' or byte == c'-':
        w.state = WALK_FRACTION
        return
    if w.state == WALK_NUMBER:
        end_number(m)
    w.state = WALK_VALUE
    begin_token(m, byte)


cdef void walk_feed(Meter *m, const char *at, size_t len) noexcept nogil:
    """Walk over the next bytes of the JSON text; what they count goes to m.usage and its flags."""
    cdef size_t k = 0
    while k < len:
        if m.walk.state == WALK_STRING or m.walk.state == WALK_ESCAPE:
            k += step_string(m, at + k, len - k)
        elif m.walk.state == WALK_VALUE:
            begin_token(m, at[k])
            k += 1
        else:
            step_number(m, at[k])
            k += 1
