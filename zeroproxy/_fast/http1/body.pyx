"""Message bodies: framed bytes in, the data in one piece out, in the same memory.

Law 1. Resumable at every byte: a Body and the next bytes are all there is.
Law 2. Chunk lines follow the grammar of RFC 9112 7.1 exactly: hex digits, extensions of
       token [ "=" ( token / quoted-string ) ], CRLF. No blanks, no bare LF, no CR inside quotes:
       bytes that one recipient skips and the next one counts are how requests are smuggled.
Law 3. Extensions and trailers are checked, counted against one limit per message, and dropped.
Law 4. Data before a wrong byte is valid and is handed out; the bytes behind it are not looked at.
Law 5. Data is moved only when a second chunk begins in the same read, and then once per byte.

The states of the framing bytes are a table, GRAMMAR, compiled to an array at import.
Tests: tests/unit/test_body.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove, memset

from zeroproxy._fast.http1.body cimport LAST_CHUNK, last_chunk
from zeroproxy._fast.http1.grammar cimport CLASS, CR, IS_DIGIT, IS_HEX, IS_TOKEN, IS_VALUE, LF
from zeroproxy._fast.types.http cimport (
    FAULT_CHUNK_END,
    FAULT_CHUNK_EXT,
    FAULT_CHUNK_SIZE,
    FAULT_HEAD_TOO_LARGE,
    FAULT_TRAILER,
    FRAMING_CHUNKED,
    FRAMING_CLOSE,
    FRAMING_LENGTH,
    FRAMING_NONE,
    VERDICT_BAD,
    VERDICT_MORE,
    VERDICT_OK,
    Body,
    Verdict,
)
from zeroproxy._fast.types.invariant cimport invariant

cdef enum:
    REFUSED = 255           # not a row of GRAMMAR
    PLAIN_DIGITS = 8        # of sizes read in one look
    SIZE_DIGITS = 16        # digits a size can need; more are leading zeros, counted as extra

cdef enum Sort:             # kind of a framing byte
    SORT_HEX = 0            # hex digit; a token character too
    SORT_TOKEN              # any other token character
    SORT_SEMICOLON
    SORT_EQUALS
    SORT_QUOTE
    SORT_BACKSLASH
    SORT_COLON
    SORT_TEXT               # anything else a field value or quoted string may hold
    SORT_CR
    SORT_LF
    SORT_CONTROL            # legal nowhere
    SORT_COUNT

WORD = (SORT_HEX, SORT_TOKEN)
QUOTABLE = (SORT_HEX, SORT_TOKEN, SORT_SEMICOLON, SORT_EQUALS, SORT_COLON, SORT_TEXT)
ANY_TEXT = (*QUOTABLE, SORT_QUOTE, SORT_BACKSLASH)

GRAMMAR = {
    BODY_SIZE: {(SORT_HEX,): BODY_DIGITS},
    BODY_DIGITS: {
        (SORT_HEX,): BODY_DIGITS,
        (SORT_SEMICOLON,): BODY_EXT_NAME,
        (SORT_CR,): BODY_LINE_LF,
    },
    BODY_EXT_NAME: {WORD: BODY_EXT_NAMED},
    BODY_EXT_NAMED: {
        WORD: BODY_EXT_NAMED,
        (SORT_EQUALS,): BODY_EXT_VALUE,
        (SORT_SEMICOLON,): BODY_EXT_NAME,
        (SORT_CR,): BODY_LINE_LF,
    },
    BODY_EXT_VALUE: {WORD: BODY_EXT_TOKEN, (SORT_QUOTE,): BODY_EXT_QUOTED},
    BODY_EXT_TOKEN: {
        WORD: BODY_EXT_TOKEN,
        (SORT_SEMICOLON,): BODY_EXT_NAME,
        (SORT_CR,): BODY_LINE_LF,
    },
    BODY_EXT_QUOTED: {
        QUOTABLE: BODY_EXT_QUOTED,
        (SORT_BACKSLASH,): BODY_EXT_ESCAPED,
        (SORT_QUOTE,): BODY_EXT_CLOSED,
    },
    BODY_EXT_ESCAPED: {ANY_TEXT: BODY_EXT_QUOTED},
    BODY_EXT_CLOSED: {(SORT_SEMICOLON,): BODY_EXT_NAME, (SORT_CR,): BODY_LINE_LF},
    BODY_LINE_LF: {(SORT_LF,): BODY_DATA},
    BODY_DATA_CR: {(SORT_CR,): BODY_DATA_LF},
    BODY_DATA_LF: {(SORT_LF,): BODY_SIZE},
    BODY_TRAILER: {WORD: BODY_TRAILER_NAME, (SORT_CR,): BODY_LAST_LF},
    BODY_TRAILER_NAME: {WORD: BODY_TRAILER_NAME, (SORT_COLON,): BODY_TRAILER_VALUE},
    BODY_TRAILER_VALUE: {ANY_TEXT: BODY_TRAILER_VALUE, (SORT_CR,): BODY_TRAILER_LF},
    BODY_TRAILER_LF: {(SORT_LF,): BODY_TRAILER},
    BODY_LAST_LF: {(SORT_LF,): BODY_DATA},
}
FAULTS = {
    BODY_SIZE: FAULT_CHUNK_SIZE,
    BODY_DIGITS: FAULT_CHUNK_SIZE,
    BODY_LINE_LF: FAULT_CHUNK_END,
    BODY_DATA_CR: FAULT_CHUNK_END,
    BODY_DATA_LF: FAULT_CHUNK_END,
}

cdef uint8_t[256] SORTS
cdef uint8_t[BODY_LINE_STATES][SORT_COUNT] NEXT
cdef uint8_t[BODY_LINE_STATES] FAULT_OF


cdef Sort sort_of(int c) noexcept nogil:
    if CLASS[c] & IS_TOKEN:
        return SORT_HEX if CLASS[c] & IS_HEX else SORT_TOKEN
    if c == 59:
        return SORT_SEMICOLON
    if c == 61:
        return SORT_EQUALS
    if c == 34:
        return SORT_QUOTE
    if c == 92:
        return SORT_BACKSLASH
    if c == 58:
        return SORT_COLON
    if CLASS[c] & IS_VALUE:
        return SORT_TEXT
    return SORT_CR if c == 13 else SORT_LF if c == 10 else SORT_CONTROL


cdef int compile_grammar() except -1:
    cdef int c, state, sort
    for c in range(256):
        SORTS[c] = sort_of(c)
    for state in range(BODY_LINE_STATES):
        FAULT_OF[state] = FAULTS.get(
            state, FAULT_TRAILER if state >= BODY_TRAILER else FAULT_CHUNK_EXT
        )
        for sort in range(SORT_COUNT):
            NEXT[state][sort] = REFUSED
        for sorts, to in GRAMMAR[state].items():
            for sort in sorts:
                NEXT[state][sort] = to
    return 0


compile_grammar()


cdef void body_begin(Body *b, int framing, uint64_t length) noexcept nogil:
    """Start a body. `length` counts for FRAMING_LENGTH only; one without a body is done at once."""
    memset(b, 0, sizeof(Body))
    b.framing = <uint8_t>framing
    b.left = length if framing == FRAMING_LENGTH else 0
    b.state = BODY_SIZE if framing == FRAMING_CHUNKED else BODY_DATA
    b.done = framing == FRAMING_NONE or (framing == FRAMING_LENGTH and length == 0)


cdef inline bint is_extra(uint8_t state) noexcept nogil:
    return BODY_EXT_NAME <= state <= BODY_EXT_CLOSED or BODY_TRAILER <= state < BODY_LAST_LF


cdef inline bint add_digit(Body *b, unsigned char c) noexcept nogil:
    """Add a digit of a chunk size. 0: above 2^63 - 1, refused before it wraps."""
    if b.size >> 59:
        return 0
    b.size = (b.size << 4) | (c - 48 if CLASS[c] & IS_DIGIT else (c | 0x20) - 87)
    b.line_bytes += 1
    return 1


cdef inline bint count_extra(Body *b, uint8_t state, uint32_t extra_limit) noexcept nogil:
    """Count a byte of extensions and trailers. 0: one too many."""
    if is_extra(state) or (state == BODY_DIGITS and b.line_bytes > SIZE_DIGITS):
        b.extra_bytes += 1
        return b.extra_bytes <= extra_limit
    return 1


cdef void end_line(Body *b) noexcept nogil:
    """Step behind the LF of a chunk line: to its data, or the trailers."""
    b.left = b.size
    b.state = BODY_DATA if b.size else BODY_TRAILER
    b.size = 0
    b.line_bytes = 0


cdef inline size_t fail_body(Body *b, int fault, size_t at) noexcept nogil:
    b.fault = <uint8_t>fault
    b.state = BODY_FAILED
    return at


cdef size_t walk_lines(
    Body *b, const unsigned char *buf, size_t at, size_t len, uint32_t extra_limit,
) noexcept nogil:
    """Read framing bytes from `at` on, up to chunk data, the end of the message or a wrong byte."""
    cdef uint8_t state = b.state
    cdef uint8_t to
    while at < len:
        to = NEXT[state][SORTS[buf[at]]]
        if to == REFUSED:
            return fail_body(b, FAULT_OF[state], at)
        if to == BODY_DIGITS and not add_digit(b, buf[at]):
            return fail_body(b, FAULT_CHUNK_SIZE, at)
        if state != BODY_SIZE and not count_extra(b, to, extra_limit):
            return fail_body(
                b, FAULT_HEAD_TOO_LARGE if to >= BODY_TRAILER else FAULT_CHUNK_EXT, at
            )
        at += 1
        if to == BODY_DATA:
            b.done = state == BODY_LAST_LF
            end_line(b)
            if b.done or b.left:
                return at
            to = b.state
        b.state = state = to
    return at


cdef inline size_t plain_size(const unsigned char *at, size_t len, uint64_t *size) noexcept nogil:
    """Length of a size line as servers write it, a few digits and CRLF; 0: the grammar decides."""
    cdef size_t k = 0
    cdef uint64_t n = 0
    while k < len and k < PLAIN_DIGITS and CLASS[at[k]] & IS_HEX:
        n = n << 4 | ((at[k] & 15) + (at[k] >> 6) * 9)
        k += 1
    if n == 0 or len < k + 2 or at[k] != CR or at[k + 1] != LF:
        return 0
    size[0] = n
    return k + 2


cdef inline size_t take_data(
    Body *b, char *buf, size_t at, size_t len, BodySlice *cut,
) noexcept nogil:
    """Take the data that is here, joined to the data that this call already found."""
    cdef size_t n = len - at
    cdef size_t end = cut.data_at + cut.data_len
    if b.framing != FRAMING_CLOSE:
        if n > b.left:
            n = b.left
        b.left -= n
    if cut.data_len == 0:
        cut.data_at = at
    elif end != at:
        memmove(buf + end, buf + at, n)
    cut.data_len += n
    b.total += n
    return at + n


cdef Verdict unframe_chunks(
    Body *b, char *buf, size_t len, BodySlice *cut, uint32_t extra_limit,
) noexcept nogil:
    cdef size_t at = 0, n
    while at < len and not b.done and b.state != BODY_FAILED:
        if b.state == BODY_SIZE:
            n = plain_size(<const unsigned char *>buf + at, len - at, &b.left)
            if n:
                b.state = BODY_DATA
                at += n
                continue
        if b.state == BODY_DATA:
            at = take_data(b, buf, at, len, cut)
            if b.left == 0:
                b.state = BODY_DATA_CR
                if len - at >= 2 and buf[at] == CR and buf[at + 1] == LF:
                    b.state = BODY_SIZE
                    at += 2
        else:
            at = walk_lines(b, <const unsigned char *>buf, at, len, extra_limit)
    cut.consumed = at
    if b.state == BODY_FAILED:
        return VERDICT_BAD
    return VERDICT_OK if b.done else VERDICT_MORE


cdef Verdict body_unframe(
    Body *b, char *buf, size_t len, BodySlice *cut, uint32_t extra_limit,
) noexcept nogil:
    """Take the framing off `len` bytes. MORE: all consumed, the body goes on. OK: the message ends
    at `consumed`. BAD: fault b.fault, at `consumed`. In each case buf[data_at] on holds data_len
    bytes of body; bytes of `buf` in front of `consumed` may have been moved."""
    cut.data_at = cut.data_len = cut.consumed = 0
    if b.state == BODY_FAILED:
        return VERDICT_BAD
    if b.done:
        return VERDICT_OK
    if b.framing == FRAMING_CHUNKED:
        return unframe_chunks(b, buf, len, cut, extra_limit)
    cut.consumed = take_data(b, buf, 0, len, cut)
    b.done = b.framing == FRAMING_LENGTH and b.left == 0
    return VERDICT_OK if b.done else VERDICT_MORE


cdef size_t frame_chunk(char *data, size_t len) noexcept nogil:
    """Write our own chunk framing around `len` bytes in place: the size line directly before
    them, CRLF behind. Returns the length of the size line; the whole takes that, `len` and 2.
    The caller owns 32 bytes on either side. len > 0: a chunk of size 0 would end the body."""
    cdef const char *hex_digits = b"0123456789abcdef"
    cdef char *at = data - 2
    cdef size_t left = len
    invariant(len > 0)
    memcpy(at, b"\r\n", 2)
    memcpy(data + len, b"\r\n", 2)
    while left:
        at -= 1
        at[0] = hex_digits[left & 15]
        left >>= 4
    return data - at


cdef size_t frame_last(char *at) noexcept nogil:
    memcpy(at, last_chunk(), LAST_CHUNK)
    return LAST_CHUNK
