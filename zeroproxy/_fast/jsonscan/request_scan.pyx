"""One scan of a request body: its model, user, prompt, `stream`, `n`, bound of tokens, and the
places of possible edits.

Law 1. Each byte is read once, for the first that needs it: routing, consistent hashing, the sum of
       the edits, or the body on its way. The scan resumes at every byte, and finds the same in
       every split. It builds no object: members below the root are skipped, but for those of
       stream_options, metadata and, for a token quota, sampling objects. Names are compared
       decoded. Members that an upstream may refuse are noted, in the root alone.
Law 2. Facts and places do not depend on the request's upstream, which is not known yet. An edit is
       chosen when the bytes before its place pass (edits.pyx).
Law 3. A body that is no object is read no further. `stream_options` is left alone if it, or a
       member of it, occurs twice, and if it is neither an object nor null.
Law 4. Anything that parsers might read in two ways sets is_ambiguous: a byte order mark, MODEL in
       other cases. With is_strict, bytes between strings that JSON does not have set it too, such
       as comments.
Law 5. The first text that is not empty counts as the user, the first prompt as the prompt. Both are
       kept as offsets into the body.
Tests: tests/unit/test_request_scan.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy, memset

from zeroproxy._fast.http1.grammar cimport Cursor, is_word
from zeroproxy._fast.jsonscan.edits cimport (
    EDITED_NOTHING,
    KEY_FIELDS,
    KEY_METADATA,
    KEY_MODEL,
    KEY_OPTIONS,
    KEY_OTHER,
    KEY_PROMPT,
    KEY_SAMPLING,
    KEY_STREAM,
    KEY_TIMINGS,
    KEY_USER,
    is_count,
    key_of,
)
from zeroproxy._fast.jsonscan.flags cimport is_flag, take_flag
from zeroproxy._fast.jsonscan.max_tokens_and_n cimport take_count
from zeroproxy._fast.jsonscan.places cimport (
    add_place,
    end_options,
    end_prompt,
    note_option,
    take_place,
    take_word,
)
from zeroproxy._fast.jsonscan.root_names cimport may_be_refused, may_matter, refused_names
from zeroproxy._fast.jsonscan.string_end_and_number cimport (
    MARK_MEMBER,
    MARK_TOKEN,
    Member,
    is_equal,
    is_member,
    skip_level,
    skip_to,
    string_end,
)
from zeroproxy._fast.jsonscan.strings cimport (
    is_plain,
    name_clear,
    name_end,
    name_feed,
    unescape,
    unescape_end,
)
from zeroproxy._fast.jsonscan.terms cimport end_container, end_root, note_name, note_value
from zeroproxy._fast.types.invariant cimport invariant
from zeroproxy._fast.types.meter cimport AMBIGUOUS_NAME, AMBIGUOUS_TEXT, REQUEST_TEXT, RequestScan
from zeroproxy._fast.types.model_name cimport ModelName, Unescape

cdef enum RequestScanState:
    SCAN_PLAIN = 0
    SCAN_KEY
    SCAN_STRING
    SCAN_NUMBER            # whose value is kept
    SCAN_COLON             # behind a name
    SCAN_VALUE             # behind its colon
    SCAN_FIRST             # nothing but blanks yet
    SCAN_SECOND            # behind the brace


cdef void request_scan_begin(RequestScan *a, ModelName *name) noexcept nogil:
    memset(a, 0, sizeof(RequestScan))
    a.state = SCAN_FIRST
    a.name = name
    if name != NULL:
        name_clear(name)


cdef void request_scan_rename(
    RequestScan *a, const char *name, size_t len, size_t skip,
) noexcept nogil:
    a.rename = name
    a.rename_len = <uint16_t>len
    a.rename_skip = <uint16_t>skip


cdef void request_scan_form(RequestScan *a, uint64_t at) noexcept nogil:
    add_place(a, at, KEY_MODEL, 0, EDITED_NOTHING)


# ---------------------------------------------------------------- the walk


cdef inline bint is_read(const RequestScan *a) noexcept nogil:
    """True if members at this depth matter."""
    return a.depth == 1 or (a.depth == 2 and a.inside)


cdef void end_key(RequestScan *a) noexcept nogil:
    """End of a member's name. The last of several streams or models counts."""
    cdef char[8] out
    if a.escape.state or a.escape.high:
        add_text(a, out, unescape_end(&a.escape, out))
    a.key = <unsigned char>key_of(a)
    a.state = SCAN_COLON
    if a.refusable != NULL and not a.inside \
            and may_be_refused(a.refusable, a.text, a.text_len):
        a.named |= refused_names(a.refusable, a.text, a.text_len)
    if a.of_kind.terms.reads:
        note_name(a)
    if a.inside:
        if a.inside == KEY_OPTIONS:
            note_option(a)
    elif a.key == KEY_OPTIONS:
        # Servers differ in which of two they take.
        a.edits_forbidden |= a.has_options
        a.has_options = 1
    elif a.key == KEY_STREAM:
        a.is_stream = 0
    elif a.key == KEY_MODEL:
        if a.name != NULL:
            name_clear(a.name)
    elif a.key == KEY_TIMINGS:
        a.has_timings = 1
    elif a.key == KEY_FIELDS:
        a.hides_counts = 1
    elif a.key == KEY_OTHER and is_word(<Cursor>a.text, a.text_len, b"model", 5):
        # Some parsers ignore the case.
        a.is_ambiguous |= AMBIGUOUS_NAME


cdef void add_text(RequestScan *a, const char *at, size_t len) noexcept nogil:
    cdef size_t room
    if a.text_len <= REQUEST_TEXT:
        room = REQUEST_TEXT - a.text_len
        memcpy(a.text + a.text_len, at, len if len < room else room)
        a.text_len = <unsigned char>(a.text_len + len if len <= room else REQUEST_TEXT + 1)


cdef void keep(RequestScan *a, const char *at, size_t len) noexcept nogil:
    """A piece of a key, of the model's name, or of a value that is read as text."""
    cdef char[8] out
    cdef size_t k
    if a.state == SCAN_STRING and a.key == KEY_MODEL:
        if a.has_model == 0:
            a.raw_len += <uint32_t>len
        if a.name != NULL:
            name_feed(a.name, at, len)
    elif a.escape.state == 0 and a.escape.high == 0 and memchr(at, c'\\', len) == NULL:
        add_text(a, at, len)
    else:
        a.of_kind.terms.is_escaped = 1
        for k in range(len):
            add_text(a, out, unescape(&a.escape, at[k], out))


cdef void take_text(RequestScan *a, bint is_number) noexcept nogil:
    """End of a number or a string that is kept."""
    if is_count(a.key):
        take_count(a)
    else:
        take_flag(a, is_number)
    a.key = KEY_OTHER
    a.state = SCAN_PLAIN


cdef bint request_scan_is_in_model(const RequestScan *a) noexcept nogil:
    return a.key == KEY_MODEL


cdef size_t step_string(RequestScan *a, const char *at, size_t k, size_t len) noexcept nogil:
    """The inside of a string from offset k; returns the offset behind it, or `len`."""
    cdef bint is_escaped = a.is_escaped
    cdef size_t n = string_end(at + k, len - k, &is_escaped)
    a.is_escaped = is_escaped
    if a.state == SCAN_KEY or (a.key != KEY_OTHER and a.key != KEY_USER):
        keep(a, at + k, n)
    if k + n == len:
        return len
    if a.state == SCAN_KEY:
        end_key(a)
    elif is_flag(a.key) or is_count(a.key):
        take_text(a, 0)
    else:
        if a.key == KEY_MODEL:
            a.has_model += a.has_model < 255
            if a.name != NULL:
                name_end(a.name)
        elif a.key == KEY_USER and a.user_end == 0 and a.n_read + k + n != a.user_at:
            a.user_end = a.n_read + k + n
        a.key = KEY_OTHER
        a.state = SCAN_PLAIN
    return k + n + 1


cdef bint begin_text(RequestScan *a, char c) noexcept nogil:
    """First byte of a value that is kept as text; false if it is none."""
    if (is_flag(a.key) or is_count(a.key)) and (c'0' <= c <= c'9' or c == c'-' or c == c'"'):
        a.state = SCAN_STRING if c == c'"' else <int>SCAN_NUMBER
        a.text_len = 0
        a.is_escaped = 0
        memset(&a.escape, 0, sizeof(Unescape))
        if c != c'"':
            keep(a, &c, 1)
        return 1
    return 0


cdef size_t begin_value(RequestScan *a, const char *at, size_t k) noexcept nogil:
    """First byte of a member's value; returns the offset behind it."""
    cdef char c = at[k]
    a.state = SCAN_PLAIN
    if a.key == KEY_OTHER:
        return step_plain(a, at, k, 1)
    if a.of_kind.terms.reads:
        note_value(a, a.n_read + k, c)
    if c == c'{' and a.key in (KEY_OPTIONS, KEY_METADATA, KEY_SAMPLING):
        a.inside = a.key
        a.depth += 1
        a.key = KEY_OTHER
        return k + 1
    if a.key != KEY_PROMPT and (c == c'f' or c == c'n' or c == c't'):
        take_word(a, a.n_read + k, c)
        return k + 1
    if begin_text(a, c):
        return k + 1
    a.edits_forbidden |= a.key == KEY_OPTIONS
    take_place(a, a.n_read + k, c)
    return step_plain(a, at, k, 1)


cdef size_t close_level(RequestScan *a, char c, size_t k) noexcept nogil:
    """A closing bracket at offset k; returns the offset behind it."""
    if a.depth == 1:
        end_prompt(a, a.n_read + k)
        if c == c'}':
            a.is_done = 1
            if a.is_stream:
                add_place(a, a.n_read + k, KEY_OTHER, c, EDITED_NOTHING)
            end_root(a, a.n_read + k, c)
    elif a.depth == 2:
        if a.inside == KEY_OPTIONS:
            end_options(a, a.n_read + k, c)
        elif a.inside == KEY_SAMPLING:
            end_container(a, a.n_read + k, c)
        a.inside = KEY_OTHER
    if a.depth:
        a.depth -= 1
    return k + 1


cdef size_t step_plain(RequestScan *a, const char *at, size_t k, bint is_value) noexcept nogil:
    """One byte between tokens, and the token it begins; returns the offset behind it. A string that
    is no value names one."""
    cdef char c = at[k]
    if c == c'"':
        a.state = SCAN_KEY if is_read(a) and not is_value else <int>SCAN_STRING
        a.text_len = 0
        a.is_escaped = a.of_kind.terms.is_escaped = 0
        memset(&a.escape, 0, sizeof(Unescape))
        return k + 1
    if c == c'}' or c == c']':
        return close_level(a, c, k)
    if c == c'{' or c == c'[':
        a.depth += 1
    return k + 1


cdef size_t step_member(RequestScan *a, const char *at, size_t k) noexcept nogil:
    """One byte behind a name, or of the number it names; returns the offset behind it."""
    cdef char c = at[k]
    if a.state == SCAN_NUMBER:
        if c'0' <= c <= c'9' or c in (c'.', c'+', c'-', c'e', c'E'):
            keep(a, at + k, 1)
            return k + 1
        take_text(a, 1)
        return k
    if a.state == SCAN_COLON:
        if c == c':':
            a.state = SCAN_VALUE
        return k + 1
    if c == c' ' or c == c'\n' or c == c'\r' or c == c'\t':
        return k + 1
    return begin_value(a, at, k)


cdef size_t step_first(RequestScan *a, const char *at, size_t k) noexcept nogil:
    """One byte before the first member."""
    cdef unsigned char c = <unsigned char>at[k]
    if a.state == SCAN_SECOND and c:
        a.state = SCAN_PLAIN
        return k
    if a.state == SCAN_FIRST:
        if c == c'{':
            a.depth = a.of_kind.terms.has_root = 1
            a.state = SCAN_SECOND
            return k + 1
        if c == 0xEF or c == 0xBB or c == 0xBF:
            a.is_ambiguous |= AMBIGUOUS_TEXT
            return k + 1
        if c == c' ' or c == c'\n' or c == c'\r' or c == c'\t':
            return k + 1
    # Python's json.loads detects UTF-16 and UTF-32 by such bytes, which RFC 8259 does not allow.
    a.is_wide = c == 0 or c >= 0xFE
    a.is_done = 1
    return k + 1


cdef size_t pass_members(RequestScan *a, const char *at, size_t k, size_t len) noexcept nogil:
    """Skip members of the root that mean nothing here, while each is complete. Begins at a name,
    and stops at the list of messages."""
    cdef Member it
    while k < len and at[k] == c'"' and is_member(at, k, len, &it):
        if a.refusable != NULL and may_be_refused(a.refusable, at + it.name, it.name_len):
            break
        if it.name_len == 8 and at[it.value] == c'[' and is_equal(at + it.name, b"messages", 8):
            a.of_kind.terms.has_member = 1
            if a.prompt_at == 0:
                a.prompt_at = a.n_read + it.value
                a.in_prompt = 1
            return it.value
        if may_matter(a, at + it.name, it.name_len):
            break
        a.of_kind.terms.has_member = 1
        k = it.next
    return k


cdef size_t skip_plain(RequestScan *a, const char *at, size_t k, size_t len) noexcept nogil:
    """Skip bytes up to the next token that matters."""
    if a.depth > 2 or (a.depth == 2 and not a.inside):
        return skip_level(at, k, len, &a.depth)
    if a.in_prompt and a.depth == 1:
        k = skip_to(at, k, len, MARK_TOKEN | MARK_MEMBER)
        while k < len and at[k] == c':':
            k = skip_to(at, k + 1, len, MARK_TOKEN | MARK_MEMBER)
        if k < len and at[k] == c',':
            end_prompt(a, a.n_read + k)
    k = skip_to(at, k, len, MARK_TOKEN)
    # A prompt that no comma has ended is no JSON; its comma is still searched for.
    return pass_members(a, at, k, len) if a.depth == 1 and not a.in_prompt else k


cdef void request_scan_feed(
    RequestScan *a, uint64_t from_, const char *at, size_t len,
) noexcept nogil:
    cdef size_t k = <size_t>(a.n_read - from_)
    invariant(from_ <= a.n_read)
    if k >= len:
        return
    at += k
    len -= k
    k = 0
    while k < len and not a.is_done:
        if a.state == SCAN_PLAIN:
            k = skip_plain(a, at, k, len)
            if k < len:
                k = step_plain(a, at, k, 0)
        elif a.state == SCAN_KEY or a.state == SCAN_STRING:
            k = step_string(a, at, k, len)
            if a.state == SCAN_COLON and k < len and at[k] == c':':
                a.state = SCAN_VALUE
                k += 1
        elif a.state <= SCAN_VALUE:
            k = step_member(a, at, k)
        else:
            k = step_first(a, at, k)
    a.n_read += len
    if a.is_strict and not is_plain(&a.plain, at, len):
        a.is_ambiguous |= AMBIGUOUS_TEXT
