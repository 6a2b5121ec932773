"""The inside of JSON strings, decoded: names of models, and names of members.

Law 1. Decoding resumes at every byte, with the same text in every split and in every spelling.
Law 2. A name that is longer than MODEL_MAX, or not valid, equals nothing. Two names that are cut
       still differ: their text ends in a hash of the part that was cut off.
Law 3. Half a surrogate pair, and an escape that JSON does not have, become U+FFFD.
Tests: tests/unit/test_request_scan.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcmp, memcpy

from zeroproxy._fast.http1.grammar cimport Cursor, hex_of, is_word
from zeroproxy._fast.jsonscan.string_end_and_number cimport string_end
from zeroproxy._fast.types.model_name cimport MODEL_HEAD, MODEL_MAX, ModelName, Unescape

cdef enum UnescapeState:
    UNESCAPE_NOTHING = 0
    UNESCAPE_BEGUN          # behind a backslash
    UNESCAPE_UNIT           # behind \u
    UNESCAPE_LAST = UNESCAPE_UNIT + 3


cdef enum PlainState:
    PLAIN_OUTSIDE = 0
    PLAIN_STRING
    PLAIN_ESCAPED

cdef enum:
    UNESCAPED_MAX = 8       # bytes that one byte can become, with a surrogate held back before it
    TAIL = 17               # bytes of "~" and a hash

cdef uint64_t FNV_BASIS = 14695981039346656037U
cdef uint64_t FNV_PRIME = 1099511628211U
cdef const char *REPLACEMENT = b"\xef\xbf\xbd"


# ---------------------------------------------------------------- escapes


cdef size_t put_code(uint32_t code, char *out) noexcept nogil:
    """UTF-8 of one code point."""
    if code < 0x80:
        out[0] = <char>code
        return 1
    if code < 0x800:
        out[0] = <char>(0xC0 | code >> 6)
        out[1] = <char>(0x80 | (code & 0x3F))
        return 2
    if code < 0x10000:
        out[0] = <char>(0xE0 | code >> 12)
        out[1] = <char>(0x80 | (code >> 6 & 0x3F))
        out[2] = <char>(0x80 | (code & 0x3F))
        return 3
    out[0] = <char>(0xF0 | code >> 18)
    out[1] = <char>(0x80 | (code >> 12 & 0x3F))
    out[2] = <char>(0x80 | (code >> 6 & 0x3F))
    out[3] = <char>(0x80 | (code & 0x3F))
    return 4


cdef size_t put_bad(Unescape *u, char *out) noexcept nogil:
    u.is_bad = 1
    memcpy(out, REPLACEMENT, 3)
    return 3


cdef size_t unescape_end(Unescape *u, char *out) noexcept nogil:
    """A high surrogate that was held back has no low one."""
    cdef size_t n = put_bad(u, out) if u.high or u.state else 0
    u.high = 0
    u.state = UNESCAPE_NOTHING
    return n


cdef size_t put_unit(Unescape *u, char *out) noexcept nogil:
    """End of \\uXXXX."""
    cdef uint32_t unit = u.unit
    cdef size_t n = 0
    u.state = UNESCAPE_NOTHING
    if 0xDC00 <= unit < 0xE000 and u.high:
        unit = 0x10000 + ((<uint32_t>u.high - 0xD800) << 10) + (unit - 0xDC00)
        u.high = 0
        return put_code(unit, out)
    n = unescape_end(u, out)
    if 0xD800 <= unit < 0xDC00:
        u.high = <uint16_t>unit
        return n
    if 0xDC00 <= unit < 0xE000:
        return n + put_bad(u, out + n)
    return n + put_code(unit, out + n)


cdef char short_escape(char c) noexcept nogil:
    """Meaning of a backslash and `c`; 0: none."""
    if c == c'"' or c == c'\\' or c == c'/':
        return c
    if c == c'b':
        return 8
    if c == c'f':
        return 12
    if c == c'n':
        return c'\n'
    if c == c'r':
        return c'\r'
    return c'\t' if c == c't' else 0


cdef size_t unescape(Unescape *u, char c, char *out) noexcept nogil:
    cdef size_t n = 0
    cdef int digit
    if u.state == UNESCAPE_NOTHING:
        if c == c'\\':
            u.state = UNESCAPE_BEGUN
            return 0
        n = unescape_end(u, out) if u.high else 0
        out[n] = c
        return n + 1
    if u.state == UNESCAPE_BEGUN:
        if c == c'u':
            u.state = UNESCAPE_UNIT
            u.unit = 0
            return 0
        u.state = UNESCAPE_NOTHING
        n = unescape_end(u, out) if u.high else 0
        out[n] = short_escape(c)
        return n + 1 if out[n] else n + put_bad(u, out + n)
    digit = hex_of(c)
    if digit < 0:
        return unescape_end(u, out)
    u.unit = <uint16_t>(u.unit << 4 | digit)
    u.state += 1
    return put_unit(u, out) if u.state > UNESCAPE_LAST else 0


# ---------------------------------------------------------------- names of models


cdef void name_free(ModelName *m) noexcept nogil:
    free(m.more)
    m.more = NULL
    name_clear(m)


cdef void hash_rest(ModelName *m, const char *at, size_t n) noexcept nogil:
    """FNV-1a, piece by piece."""
    cdef size_t k
    for k in range(n):
        m.rest_hash = (m.rest_hash ^ <uint8_t>at[k]) * FNV_PRIME


cdef void add_beyond(ModelName *m, const char *at, size_t n) noexcept nogil:
    """name_add, if not all of it fits the head."""
    cdef size_t take, here
    if m.len > MODEL_MAX:
        hash_rest(m, at, n)
        return
    take = n if n < <size_t>MODEL_MAX - m.len else <size_t>MODEL_MAX - m.len
    here = take if m.len + take <= MODEL_HEAD else <size_t>MODEL_HEAD - min(m.len, MODEL_HEAD)
    if here:
        memcpy(m.head + m.len, at, here)
    if take > here:
        if m.more == NULL:
            m.more = <char *>malloc(MODEL_MAX - MODEL_HEAD)
        if m.more == NULL:
            m.text.is_bad = 1
            m.len += <uint16_t>here
            return
        memcpy(m.more + m.len + here - MODEL_HEAD, at + here, take - here)
    m.len += <uint16_t>take
    if n > take:
        m.len = MODEL_MAX + 1
        m.rest_hash = FNV_BASIS
        hash_rest(m, m.more + MODEL_MAX - MODEL_HEAD - TAIL, TAIL)
        hash_rest(m, at + take, n - take)


cdef void name_add(ModelName *m, const char *at, size_t n) noexcept nogil:
    if n > MODEL_HEAD or m.len + n > MODEL_HEAD:
        add_beyond(m, at, n)
        return
    memcpy(m.head + m.len, at, n)
    m.len += <uint16_t>n


cdef void name_feed(ModelName *m, const char *at, size_t n) noexcept nogil:
    cdef char[UNESCAPED_MAX] out
    cdef size_t k
    if m.text.state == UNESCAPE_NOTHING and not m.text.high and memchr(at, c'\\', n) == NULL:
        name_add(m, at, n)
        return
    for k in range(n):
        name_add(m, out, unescape(&m.text, at[k], out))


cdef void end_escape(ModelName *m) noexcept nogil:
    cdef char[UNESCAPED_MAX] out
    name_add(m, out, unescape_end(&m.text, out))


cdef bint name_is(const ModelName *m, const char *at, size_t len) noexcept nogil:
    cdef size_t here = len if len < MODEL_HEAD else <size_t>MODEL_HEAD
    if m.len != len or m.text.is_bad or memcmp(m.head, at, here) != 0:
        return 0
    return len == here or memcmp(m.more, at + here, len - here) == 0


cdef inline bint is_printable(const char *at) noexcept nogil:
    """True if the eight bytes are ASCII without controls."""
    cdef uint64_t ones = 0x0101010101010101
    cdef uint64_t w
    memcpy(&w, at, 8)
    # If all are ASCII, no sum carries over.
    return ((w | (w + ones) | ~(w + ones * 0x60)) & ones << 7) == 0


cdef void hide_controls(char *at, size_t n) noexcept nogil:
    """Replace C0, DEL and, in UTF-8, C1, which a terminal would obey."""
    cdef size_t k, plain = 0
    cdef unsigned char c
    while plain + 8 <= n and is_printable(at + plain):
        plain += 8
    if plain and plain + 8 > n and is_printable(at + n - 8):
        return
    for k in range(plain, n):
        c = <unsigned char>at[k]
        if c < 0x20 or c == 0x7F:
            at[k] = c'?'
        elif c == 0xC2 and k + 1 < n and <unsigned char>at[k + 1] < 0xA0:
            at[k] = at[k + 1] = c'?'


cdef size_t name_write(const ModelName *m, char *out) noexcept nogil:
    """A name that was cut ends in a hash of the bytes it replaces and of all that follow."""
    cdef char[TAIL + 1] tail
    cdef size_t len = m.len if m.len <= MODEL_MAX else <size_t>MODEL_MAX
    cdef size_t here = len if len < MODEL_HEAD else <size_t>MODEL_HEAD
    memcpy(out, m.head, here)
    if len > here and m.more != NULL:
        memcpy(out + here, m.more, len - here)
    if m.len > MODEL_MAX:
        snprintf(tail, sizeof(tail), b"~%016llx", <unsigned long long>m.rest_hash)
        memcpy(out + MODEL_MAX - TAIL, tail, TAIL)
    hide_controls(out, len)
    return len


# ---------------------------------------------------------------- booleans


cdef bint is_true(const char *at, size_t n, bint is_number) noexcept nogil:
    cdef Cursor text = <Cursor>at
    cdef size_t k
    if not is_number:
        return (
            is_word(text, n, b"1", 1) or is_word(text, n, b"t", 1) or is_word(text, n, b"y", 1)
            or is_word(text, n, b"on", 2) or is_word(text, n, b"yes", 3)
            or is_word(text, n, b"true", 4)
        )
    for k in range(n):
        if at[k] == c'e' or at[k] == c'E':
            return 0
        if c'1' <= at[k] <= c'9':
            return 1
    return 0


# ---------------------------------------------------------------- plain JSON


cdef inline bint is_token_byte(char c) noexcept nogil:
    """True for bytes of JSON outside strings, and of anything spelt like its words and numbers. No
    comment begins with one, and no other kind of string."""
    if c'a' <= (c | 0x20) <= c'z' or c'0' <= c <= c':':
        return 1
    return memchr(b"{}[], \t\r\n+-.", c, 13) != NULL


cdef bint is_plain(uint8_t *state, const char *at, size_t n) noexcept nogil:
    cdef size_t k = 0
    cdef bint is_escaped
    while k < n:
        if state[0] != PLAIN_OUTSIDE:
            is_escaped = state[0] == PLAIN_ESCAPED
            k += string_end(at + k, n - k, &is_escaped)
            if k == n:
                state[0] = PLAIN_ESCAPED if is_escaped else PLAIN_STRING
                return 1
            state[0] = PLAIN_OUTSIDE
        elif at[k] == c'"':
            state[0] = PLAIN_STRING
        elif not is_token_byte(at[k]):
            return 0
        k += 1
    return 1
