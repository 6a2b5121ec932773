"""What a request asks for, read in passing: the root's `model`, `stream`, `n`, `stream_options`.

Law 1. Resumable at every byte, and no object is built: keys deeper than the root are stepped over,
       strings by memchr. Names of members, and the model's, are compared decoded.
Law 2. An edit asks for usage on the caller's behalf, and only where `stream` is true, in any of
       the spellings that servers take for it. It is offered between two bytes; the caller decides
       and writes it.
Law 3. What is no object is read no further. `stream_options` of another type, or a member of it
       that occurs twice, is left alone.
Law 4. With is_strict, what another parser might read in another way is veiled: bytes between
       strings that JSON does not have (comments), a byte order mark, MODEL in other cases.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memchr, memcpy, memset

from zeroproxy._fast.http1.grammar cimport Cursor, is_word
from zeroproxy._fast.jsonscan.counts cimport is_count, take_count
from zeroproxy._fast.jsonscan.edits cimport (
    EDITED_RUNNING,
    EDITED_USAGE,
    KEY_FIELDS,
    KEY_MODEL,
    KEY_OPTIONS,
    KEY_OTHER,
    KEY_RUNNING,
    KEY_SAMPLING,
    KEY_STREAM,
    KEY_TIMINGS,
    KEY_USAGE,
    Edit,
    key_of,
    offer_at_end,
    offer_for_value,
    offer_in_options,
    offer_name,
)
from zeroproxy._fast.jsonscan.strings cimport (
    is_plain,
    is_true,
    name_clear,
    name_end,
    name_feed,
    unescape,
    unescape_end,
)
from zeroproxy._fast.jsonscan.tokens cimport (
    MARK_TOKEN,
    Member,
    is_member,
    skip_level,
    skip_to,
    string_end,
)
from zeroproxy._fast.types.meter cimport SCAN_TEXT, RequestScan
from zeroproxy._fast.types.model cimport ModelName, Unescape

cdef enum RequestScanState:
    ASKED_PLAIN = 0
    ASKED_KEY
    ASKED_STRING
    ASKED_NUMBER            # that counts
    ASKED_COLON             # a key was read
    ASKED_VALUE             # behind its colon
    ASKED_FIRST             # nothing but blanks yet
    ASKED_SECOND            # behind the brace
    ASKED_FORM              # of another kind of body: `until` bytes up to the model's name


cdef void request_scan_begin(RequestScan *a, int usage_request, ModelName *name) noexcept nogil:
    """`name`: where the model's goes, borrowed."""
    memset(a, 0, sizeof(RequestScan))
    a.usage_request = <unsigned char>usage_request
    a.state = ASKED_FIRST
    a.name = name
    if name != NULL:
        name_clear(name)


cdef void request_scan_rename(RequestScan *a, const char *name, size_t len, size_t skip) noexcept nogil:
    """Offer `name` (borrowed, as the body spells names) for the `skip` bytes of the model's."""
    a.rename = name
    a.rename_len = <uint16_t>len
    a.rename_skip = <uint16_t>skip


cdef void request_scan_form(RequestScan *a, uint32_t until) noexcept nogil:
    """Nothing of this body is read; what stands behind `until` bytes of it is renamed."""
    a.state = ASKED_FORM
    a.until = until


# ---------------------------------------------------------------- the walk


cdef inline bint is_read(const RequestScan *a) noexcept nogil:
    """Whether the members at this depth matter."""
    return a.depth == 1 or (a.depth == 2 and (a.in_options or a.in_sampling))


cdef void end_key(RequestScan *a) noexcept nogil:
    """A member's name was read; what it had before counts no longer."""
    cdef char[8] out
    cdef unsigned char mark
    if a.escape.state or a.escape.high:
        add_text(a, out, unescape_end(&a.escape, out))
    a.key = <unsigned char>key_of(a)
    a.state = ASKED_COLON
    if a.in_options:
        a.has_member = 1
        mark = 1 if a.key == KEY_USAGE else 2 if a.key == KEY_RUNNING else 0
        a.edits_forbidden |= (a.members & mark) != 0
        a.members |= mark
    elif a.key == KEY_OPTIONS:
        # Twice: which one counts is the server's choice.
        a.edits_forbidden |= a.has_options
        a.has_options = 1
    elif a.key == KEY_STREAM:
        a.is_stream = 0
    elif a.key == KEY_MODEL:
        a.raw_len = 0
        if a.name != NULL:
            name_clear(a.name)
    elif a.key == KEY_TIMINGS:
        a.has_timings = 1
    elif a.key == KEY_FIELDS:
        a.hides_counts = 1
    elif a.key == KEY_OTHER and a.depth == 1 and is_word(<Cursor>a.text, a.text_len, b"model", 5):
        # Some parsers do not look at the case.
        a.is_ambiguous = 1


cdef void add_text(RequestScan *a, const char *at, size_t len) noexcept nogil:
    cdef size_t room
    if a.text_len <= SCAN_TEXT:
        room = SCAN_TEXT - a.text_len
        memcpy(a.text + a.text_len, at, len if len < room else room)
        a.text_len = <unsigned char>(a.text_len + len if len <= room else SCAN_TEXT + 1)


cdef void keep(RequestScan *a, const char *at, size_t len) noexcept nogil:
    """A piece of a key, of the model's name, or of a value that is read as text."""
    cdef char[8] out
    cdef size_t k
    if a.state == ASKED_STRING and a.key == KEY_MODEL:
        a.raw_len += <uint32_t>len
        if a.name != NULL:
            name_feed(a.name, at, len)
    elif a.escape.state == 0 and a.escape.high == 0 and memchr(at, c'\\', len) == NULL:
        add_text(a, at, len)
    else:
        for k in range(len):
            add_text(a, out, unescape(&a.escape, at[k], out))


cdef inline bint is_flag(int key) noexcept nogil:
    """Whether its value is a boolean, in whatever spelling."""
    return key == KEY_STREAM or key == KEY_USAGE or key == KEY_RUNNING


cdef void take_text(RequestScan *a, bint is_number) noexcept nogil:
    """A number or a string has ended."""
    if is_count(a.key):
        take_count(a)
    else:
        take_flag(a, is_number)
    a.key = KEY_OTHER
    a.state = ASKED_PLAIN


cdef void take_flag(RequestScan *a, bint is_number) noexcept nogil:
    """A number or a string where a boolean belongs: some servers convert it."""
    cdef bint is_set = is_true(a.text, min(a.text_len, SCAN_TEXT), is_number)
    a.is_guess = 1
    if a.key == KEY_STREAM:
        a.is_stream = is_set
    elif a.key == KEY_USAGE:
        a.has_usage = is_set
    else:
        a.has_running = a.caller_asks_running = is_set


cdef bint request_scan_is_in_model(const RequestScan *a) noexcept nogil:
    """Whether the model's name has begun and not ended."""
    return a.state == ASKED_STRING and a.key == KEY_MODEL


cdef size_t step_string(RequestScan *a, const char *at, size_t k, size_t len) noexcept nogil:
    """The inside of a string from offset k; returns the offset behind it, or `len`."""
    cdef bint is_escaped = a.is_escaped
    cdef size_t n = string_end(at + k, len - k, &is_escaped)
    a.is_escaped = is_escaped
    if a.state == ASKED_KEY or a.key != KEY_OTHER:
        keep(a, at + k, n)
    if k + n == len:
        return len
    if a.state == ASKED_KEY:
        end_key(a)
    elif is_flag(a.key) or is_count(a.key):
        take_text(a, 0)
    else:
        if a.key == KEY_MODEL:
            a.has_model += a.has_model < 255
            if a.name != NULL:
                name_end(a.name)
        a.key = KEY_OTHER
        a.state = ASKED_PLAIN
    return k + n + 1


cdef bint begin_text(RequestScan *a, char c) noexcept nogil:
    """The first byte of a value that is read as a text. 0: it is none."""
    if (is_flag(a.key) or is_count(a.key)) and (c'0' <= c <= c'9' or c == c'-' or c == c'"'):
        a.state = ASKED_STRING if c == c'"' else <int>ASKED_NUMBER
        a.text_len = 0
        a.is_escaped = 0
        memset(&a.escape, 0, sizeof(Unescape))
        if c != c'"':
            keep(a, &c, 1)
        return 1
    return 0


cdef size_t begin_value(RequestScan *a, const char *at, size_t k, Edit *due) noexcept nogil:
    """The first byte of a member's value; returns the offset behind it, or k: an edit is due."""
    cdef char c = at[k]
    a.state = ASKED_PLAIN
    if c == c'f' or c == c'n' or c == c't':
        if a.key == KEY_STREAM:
            a.is_stream = c == c't'
        elif c == c't':
            a.has_usage |= a.key == KEY_USAGE
            a.has_running |= a.key == KEY_RUNNING
            a.caller_asks_running |= a.key == KEY_RUNNING
            a.edits_forbidden |= a.key == KEY_OPTIONS
        else:
            offer_for_value(a, c, due)
            if due.n_add:
                a.has_usage |= due.edited & EDITED_USAGE
                a.has_running |= (due.edited & EDITED_RUNNING) != 0
            elif a.key == KEY_OPTIONS:
                a.edits_forbidden |= c == c'f'
        a.key = KEY_OTHER
        return k if due.n_add else k + 1
    if c == c'{' and (a.key == KEY_OPTIONS or a.key == KEY_SAMPLING):
        a.in_options = a.key == KEY_OPTIONS
        a.in_sampling = not a.in_options
        a.has_member = a.members = 0
        a.depth += 1
        a.key = KEY_OTHER
        return k + 1
    if begin_text(a, c):
        return k + 1
    if a.key == KEY_MODEL and c == c'"' and a.rename_len:
        offer_name(a, due)
        return k
    a.edits_forbidden |= a.key == KEY_OPTIONS
    if a.key != KEY_MODEL or c != c'"':
        a.key = KEY_OTHER
    return step_plain(a, at, k, due, 1)


cdef size_t close_level(RequestScan *a, char c, size_t k, Edit *due) noexcept nogil:
    """A closing bracket at offset k; returns the offset behind it, or k: an edit is due."""
    if a.depth == 1 and c == c'}':
        offer_at_end(a, due)
        a.is_stream &= due.n_add == 0
        a.is_done = due.n_add == 0
    elif a.depth == 2 and a.in_options:
        offer_in_options(a, due)
        if due.n_add == 0:
            a.in_options = 0
        else:
            a.has_usage = a.has_running = 1
    elif a.depth == 2:
        a.in_sampling = 0
    if due.n_add:
        return k
    if a.depth:
        a.depth -= 1
    return k + 1


cdef size_t step_plain(
    RequestScan *a, const char *at, size_t k, Edit *due, bint is_value,
) noexcept nogil:
    """One byte between tokens, and the token it begins; returns the offset behind it. A string that
    is no value names one."""
    cdef char c = at[k]
    if c == c'"':
        a.state = ASKED_KEY if is_read(a) and not is_value else <int>ASKED_STRING
        a.text_len = 0
        a.is_escaped = 0
        memset(&a.escape, 0, sizeof(Unescape))
        return k + 1
    if c == c'}' or c == c']':
        return close_level(a, c, k, due)
    if c == c'{' or c == c'[':
        a.depth += 1
    return k + 1


cdef size_t step_member(RequestScan *a, const char *at, size_t k, Edit *due) noexcept nogil:
    """One byte behind a name, or of the number it names; returns the offset behind it."""
    cdef char c = at[k]
    if a.state == ASKED_NUMBER:
        if c'0' <= c <= c'9' or c in (c'.', c'+', c'-', c'e', c'E'):
            keep(a, at + k, 1)
            return k + 1
        take_text(a, 1)
        return k
    if a.state == ASKED_COLON:
        if c == c':':
            a.state = ASKED_VALUE
        return k + 1
    if c == c' ' or c == c'\n' or c == c'\r' or c == c'\t':
        return k + 1
    return begin_value(a, at, k, due)


cdef size_t step_first(RequestScan *a, const char *at, size_t k) noexcept nogil:
    """One byte of what comes before the first member."""
    cdef unsigned char c = <unsigned char>at[k]
    if a.state == ASKED_SECOND and c:
        a.state = ASKED_PLAIN
        return k
    if a.state == ASKED_FIRST:
        if c == c'{':
            a.depth = 1
            a.state = ASKED_SECOND
            return k + 1
        if c == 0xEF or c == 0xBB or c == 0xBF:
            a.is_ambiguous = 1
            return k + 1
        if c == c' ' or c == c'\n' or c == c'\r' or c == c'\t':
            return k + 1
    # Python's json.loads takes UTF-16 and UTF-32 by such bytes; RFC 8259 does not.
    a.is_wide = c == 0 or c >= 0xFE
    a.is_done = 1
    return k + 1


cdef size_t step_form(RequestScan *a, size_t k, size_t len, Edit *due) noexcept nogil:
    cdef size_t n = a.until if a.until < len - k else len - k
    a.until -= <uint32_t>n
    if a.until == 0 and a.rename_len:
        offer_name(a, due)
    elif a.until == 0:
        a.is_done = 1
    return k + n


cdef bint may_matter(const char *at, size_t len, bint reads_bound) noexcept nogil:
    """Whether a name of the root's is one we know, or spells we do not know what."""
    return len in (1, 5, 6, 14, 17) or (reads_bound and len in (7, 9, 10, 15, 21)) \
        or memchr(at, c'\\', len) != NULL


cdef size_t pass_members(const char *at, size_t k, size_t len, bint reads_bound) noexcept nogil:
    """Over members of the root that mean nothing here, from a name on, while each is all here."""
    cdef Member it
    while k < len and at[k] == c'"' and is_member(at, k, len, &it) \
            and not may_matter(at + it.name, it.name_len, reads_bound):
        k = it.next
    return k


cdef size_t request_scan_feed(RequestScan *a, const char *at, size_t len, Edit *due) noexcept nogil:
    """Read up to `len` bytes; returns how many were read. due.n_add != 0: an edit belongs exactly
    there. Whoever makes it leaves out due.skip bytes that follow; whoever does not goes on."""
    cdef size_t k = 0
    due.n_add = due.skip = 0
    while k < len and not a.is_done and due.n_add == 0:
        if a.state == ASKED_PLAIN:
            if is_read(a) or a.depth == 0:
                k = skip_to(at, k, len, MARK_TOKEN)
                if a.depth == 1:
                    k = pass_members(at, k, len, a.reads_bound)
            else:
                k = skip_level(at, k, len, &a.depth)
            if k < len:
                k = step_plain(a, at, k, due, 0)
        elif a.state == ASKED_KEY or a.state == ASKED_STRING:
            k = step_string(a, at, k, len)
            if a.state == ASKED_COLON and k < len and at[k] == c':':
                a.state = ASKED_VALUE
                k += 1
        elif a.state <= ASKED_VALUE:
            k = step_member(a, at, k, due)
        elif a.state == ASKED_FORM:
            k = step_form(a, k, len, due)
        else:
            k = step_first(a, at, k)
    k = k if due.n_add else len
    if a.is_strict and not is_plain(&a.plain, at, k):
        a.is_ambiguous = 1
    return k
