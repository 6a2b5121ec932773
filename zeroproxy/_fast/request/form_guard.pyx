"""Watch of a form whose `model` part was allowed. Up to the form's end, no other part may be the
model as well.

Law 1. Any bytes that some server may take for a delimiter are one here, wherever they are. A head
       of the plain form that clients write must follow. If not, the form is ambiguous.
Law 2. The watch resumes at every byte and builds no object. Data between delimiters costs a memchr.
Tests: tests/relay/test_key_forms.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t
from libc.string cimport memchr, memcmp, memcpy, memset

from zeroproxy._fast.http1.grammar cimport Cursor, is_word
from zeroproxy._fast.types.form cimport DELIMITER_MAX, PART_NAME, PART_TEXT, FormWatch

cdef enum WatchState:
    WATCH_DATA = 0          # before the next delimiter
    WATCH_BEHIND            # behind a delimiter
    WATCH_CLOSED            # behind a delimiter and a dash
    WATCH_LF                # behind a CR in a part's head
    WATCH_LINE
    WATCH_QUOTED

cdef const char *DISPOSITION = b"content-disposition: form-data"
cdef const char *NAME = b"; name="
cdef enum:
    DISPOSITION_LEN = 30
    NAME_LEN = 7
    QUOTE = 34              # the quote; in FormWatch.text it stands for a quoted text


cdef inline void doubt(FormWatch *w, bint is_odd) noexcept nogil:
    if is_odd:
        w.is_ambiguous = 1


cdef inline bint is_plain(char c) noexcept nogil:
    """True for bytes of plain boundaries and unquoted names."""
    return c'a' <= c <= c'z' or c'A' <= c <= c'Z' or c'0' <= c <= c'9' or c in b"-_.'+:="


cdef bint is_plain_boundary(const char *at, size_t len) noexcept nogil:
    cdef size_t k = 19      # multipart/form-data
    cdef bint is_quoted
    if k == len or at[k] != c';':
        return 0
    k += 1
    k += k < len and at[k] == c' '
    if len - k <= 9 or not is_word(<Cursor>at + k, 9, b"boundary=", 9):
        return 0
    k += 9
    is_quoted = at[k] == QUOTE
    k += is_quoted
    len -= is_quoted
    if k >= len or len - k > DELIMITER_MAX - 2 or (is_quoted and at[len] != QUOTE):
        return 0
    while k < len:
        if not is_plain(at[k]):
            return 0
        k += 1
    return 1


cdef void watch_begin(FormWatch *w, const char *boundary, size_t n) noexcept nogil:
    cdef uint8_t k, border = 0
    memset(w, 0, sizeof(FormWatch))
    w.n = <uint8_t>(n + 2)
    w.delimiter[0] = w.delimiter[1] = c'-'
    memcpy(w.delimiter + 2, boundary, n)
    for k in range(1, w.n):
        while border and w.delimiter[k] != w.delimiter[border]:
            border = w.back[border - 1]
        border += w.delimiter[k] == w.delimiter[border]
        w.back[k] = border


# ---------------------------------------------------------------- heads of parts


cdef void begin_line(FormWatch *w) noexcept nogil:
    w.state = WATCH_LINE
    w.text_len = 0


cdef bint ends_with_name(const FormWatch *w) noexcept nogil:
    return w.text_len == DISPOSITION_LEN + NAME_LEN \
        and memcmp(w.text + DISPOSITION_LEN, NAME, NAME_LEN) == 0


cdef void take_char(FormWatch *w, char c) noexcept nogil:
    """Keep a byte of a line outside quotes, in lower case."""
    if w.text_len == PART_TEXT:
        w.is_ambiguous = 1
        return
    w.text[w.text_len] = c | 0x20 if c'A' <= c <= c'Z' else c
    w.text_len += 1


cdef void take_name(FormWatch *w, const char *at, size_t n) noexcept nogil:
    cdef size_t room = PART_NAME - w.name_len if w.name_len < PART_NAME else 0
    memcpy(w.name + w.name_len, at, n if n < room else room)
    w.name_len = <uint8_t>(w.name_len + n if n <= room else PART_NAME + 1)


cdef size_t token_end(const char *at, size_t k, size_t len) noexcept nogil:
    """Offset behind a value: a quoted text, or an unquoted one."""
    if k < len and at[k] == QUOTE:
        return k + 1
    while k < len and (is_plain(at[k]) or at[k] == c'%'):
        k += 1
    return k


cdef bint is_plain_disposition(FormWatch *w) noexcept nogil:
    """True for: form-data; name=X, and perhaps filename=Y, filename*=Z behind it."""
    cdef const char *at = w.text
    cdef size_t k = DISPOSITION_LEN + NAME_LEN, end, len = w.text_len
    if len <= k or memcmp(at + DISPOSITION_LEN, NAME, NAME_LEN) != 0:
        return 0
    end = token_end(at, k, len)
    if at[k] != QUOTE:
        w.name_len = 0
        take_name(w, at + k, end - k)
    k = end
    if len - k > 11 and memcmp(at + k, b"; filename=", 11) == 0:
        k = token_end(at, k + 11, len)
    if len - k > 19 and memcmp(at + k, b"; filename*=utf-8''", 19) == 0:
        k = token_end(at, k + 19, len)
    return k == len


cdef bint begins(const FormWatch *w, const char *word, size_t n) noexcept nogil:
    return w.text_len >= n and memcmp(w.text, word, n) == 0


cdef bint is_plain_line(FormWatch *w) noexcept nogil:
    """True for the other lines that clients write. The model's type must not name another
    charset."""
    if begins(w, b"content-type: ", 14):
        if not (w.text_len == 24 and begins(w, b"content-type: text/plain", 24)) \
                and not (w.text_len == 39
                         and begins(w, b"content-type: text/plain; charset=utf-8", 39)):
            w.is_typed = 1
        return 1
    return begins(w, b"content-length: ", 16) \
        or (w.text_len == 33 and begins(w, b"content-transfer-encoding: binary", 33)) \
        or (w.text_len == 31 and begins(w, b"content-transfer-encoding: 8bit", 31))


cdef void end_line(FormWatch *w) noexcept nogil:
    if w.text_len == 0:
        doubt(w, not w.has_name or (w.is_model and w.is_typed))
        if w.is_model and w.n_models < 255:
            w.n_models += 1
        w.state = WATCH_DATA
        return
    if begins(w, DISPOSITION, DISPOSITION_LEN):
        doubt(w, w.has_name or not is_plain_disposition(w))
        w.has_name = 1
        w.is_model = w.name_len == 5 and memcmp(w.name, b"model", 5) == 0
        doubt(w, not w.is_model and is_word(<Cursor>w.name, min(w.name_len, 6), b"model", 5))
        doubt(w, w.name_len == 9 and is_word(<Cursor>w.name, 9, b"_charset_", 9))
    elif not is_plain_line(w):
        w.is_ambiguous = 1
    begin_line(w)


cdef size_t step_quoted(FormWatch *w, const char *at, size_t k, size_t len) noexcept nogil:
    cdef size_t from_ = k
    while k < len and at[k] != QUOTE:
        doubt(w, at[k] == c'\\' or <uint8_t>at[k] < 0x20)
        k += 1
    if ends_with_name(w):
        take_name(w, at + from_, k - from_)
    if k == len:
        return len
    take_char(w, QUOTE)
    w.state = WATCH_LINE
    return k + 1


cdef size_t step_line(FormWatch *w, const char *at, size_t k) noexcept nogil:
    if at[k] == QUOTE:
        w.state = WATCH_QUOTED
        if ends_with_name(w):
            w.name_len = 0
    elif at[k] == c'\r':
        w.state = WATCH_LF
    else:
        doubt(w, <uint8_t>at[k] < 0x20)
        take_char(w, at[k])
    return k + 1


# ---------------------------------------------------------------- the whole


cdef size_t step_data(FormWatch *w, const char *at, size_t k, size_t len) noexcept nogil:
    cdef const char *found
    if w.matched == 0:
        found = <const char *>memchr(at + k, c'-', len - k)
        if found == NULL:
            return len
        k = <size_t>(found - at)
    while w.matched and at[k] != w.delimiter[w.matched]:
        w.matched = w.back[w.matched - 1]
    w.matched += at[k] == w.delimiter[w.matched]
    if w.matched == w.n:
        w.matched = 0
        w.state = WATCH_BEHIND
    return k + 1


cdef size_t step_behind(FormWatch *w, const char *at, size_t k) noexcept nogil:
    """Byte behind a delimiter: of a line's end, or of the form's."""
    if w.state == WATCH_CLOSED or (at[k] != c'\r' and at[k] != c'-'):
        doubt(w, at[k] != c'-')
        w.state = WATCH_DATA
    elif at[k] == c'-':
        w.state = WATCH_CLOSED
    else:
        w.has_name = w.is_model = w.is_typed = w.name_len = 0
        w.text_len = 1
        w.text[0] = 0
        w.state = WATCH_LF
    return k + 1


cdef bint watch_feed(FormWatch *w, const char *at, size_t len) noexcept nogil:
    cdef size_t k = 0
    while k < len and not w.is_ambiguous:
        if w.state == WATCH_DATA:
            k = step_data(w, at, k, len)
        elif w.state == WATCH_LINE:
            k = step_line(w, at, k)
        elif w.state == WATCH_QUOTED:
            k = step_quoted(w, at, k, len)
        elif w.state == WATCH_LF:
            doubt(w, at[k] != c'\n')
            k += 1
            if w.text_len == 1 and w.text[0] == 0:
                begin_line(w)
            else:
                end_line(w)
        else:
            k = step_behind(w, at, k)
    return not w.is_ambiguous and w.n_models < 2
