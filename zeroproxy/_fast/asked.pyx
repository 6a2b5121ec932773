"""What a request asks for, read in passing: the root's `model`, `stream`, `n`, `stream_options`.

Law 1. Resumable at every byte, and no object is built: keys deeper than the root are stepped over,
       strings by memchr.
Law 2. An edit asks for usage on the caller's behalf, and only where that is legal: `stream` is
       true, and no key ends up twice. It is offered between two bytes; the caller decides and
       writes it.
Law 3. Every edit can be taken back in place, at the same length: blanks are as good as nothing
       between two tokens of JSON, and behind the text.
Law 4. What we do not understand (an escape in a key, a value of another type) is left alone.
"""

from libc.stddef cimport size_t
from libc.string cimport memchr, memcpy, memset, strlen

from zeroproxy._fast.asked cimport (
    EDITED_RUNNING, EDITED_TIMINGS, EDITED_USAGE, WISH_NOTHING, WISH_RUNNING, WISH_TIMINGS, Edit,
)
from zeroproxy._fast.meter_types cimport ASKED_TEXT, Asked
from zeroproxy._fast.scan cimport (
    MARK_TOKEN, Member, is_equal, is_member, skip_level, skip_to, string_end,
)

cdef enum AskedState:
    ASKED_PLAIN = 0
    ASKED_KEY
    ASKED_STRING
    ASKED_NUMBER            # of "n"
    ASKED_COLON             # a key was read
    ASKED_VALUE             # behind its colon


cdef enum Key:
    KEY_OTHER = 0
    KEY_MODEL
    KEY_STREAM
    KEY_N
    KEY_OPTIONS
    KEY_USAGE
    KEY_RUNNING
    KEY_TIMINGS             # llama.cpp's timings_per_token


cdef enum Was:              # what an edit replaced
    WAS_RENAMED = -1        # another name of the model: it stays
    WAS_NOTHING = 0
    WAS_FALSE
    WAS_NULL

cdef const char *OPTIONS = b',"stream_options":{"include_usage":true}'
cdef const char *OPTIONS_RUNNING = (
    b',"stream_options":{"include_usage":true,"continuous_usage_stats":true}'
)
cdef const char *TIMINGS = b',"timings_per_token":true'
cdef const char *OBJECT = b'{"include_usage":true}'
cdef const char *OBJECT_RUNNING = b'{"include_usage":true,"continuous_usage_stats":true}'
cdef const char *USAGE = b',"include_usage":true'
cdef const char *RUNNING = b',"continuous_usage_stats":true'
cdef const char *BOTH = b',"include_usage":true,"continuous_usage_stats":true'
cdef const char *TRUE_FOR_FALSE = b"true "
cdef const char *TRUE_FOR_NULL = b"true"


cdef void asked_begin(Asked *a, int wish) noexcept nogil:
    memset(a, 0, sizeof(Asked))
    a.wish = <unsigned char>wish


cdef void asked_rename(Asked *a, const char *name, size_t len, size_t skip) noexcept nogil:
    """Offer `name` (borrowed, as JSON) for the `skip` bytes of the model's, quotes included."""
    a.rename = name
    a.rename_len = <unsigned char>len
    a.rename_skip = <unsigned char>skip


cdef size_t asked_longest(int wish) noexcept nogil:
    """How many bytes the edits of one request can add at most."""
    if wish == WISH_NOTHING:
        return 0
    if wish == WISH_TIMINGS:
        return strlen(TIMINGS)
    return strlen(OPTIONS_RUNNING if wish >= WISH_RUNNING else OPTIONS)


cdef int asked_woken(const Asked *a) noexcept nogil:
    """What the edit of EDITED_USAGE has made the server say although the caller's own words ask
    for it too: they alone would not have moved it. As Edited."""
    return EDITED_RUNNING if a.asks_running and a.wish == WISH_RUNNING else 0


cdef void edit_undo(char *at, size_t n, int was) noexcept nogil:
    """Take back an edit of `n` bytes that begins at `at`; `was`: Edit.was."""
    if was == WAS_RENAMED:
        return
    memset(at, c' ', n)
    if was == WAS_FALSE:
        memcpy(at, b"false", 5)
    elif was == WAS_NULL:
        memcpy(at, b"null", 4)


# ---------------------------------------------------------------- edits


cdef void offer(Asked *a, Edit *due, const char *add, int was, int edited) noexcept nogil:
    due.add = add
    due.n_add = <unsigned char>strlen(add)
    due.was = <signed char>was
    due.skip = 5 if was == WAS_FALSE else 4 if was == WAS_NULL else 0
    due.edited = <unsigned char>edited


cdef int wanted(const Asked *a) noexcept nogil:
    """What is still to be asked for, as Edited."""
    cdef int edited = 0
    if a.wish == WISH_NOTHING or a.wish == WISH_TIMINGS or a.is_frozen:
        return 0
    if not a.has_usage:
        edited = EDITED_USAGE
    if a.wish >= WISH_RUNNING and not a.has_running:
        edited |= EDITED_RUNNING
    return edited


cdef void offer_at_end(Asked *a, Edit *due) noexcept nogil:
    """The root is about to end."""
    if a.wish == WISH_TIMINGS and a.is_stream and not a.is_frozen and not a.has_timings:
        offer(a, due, TIMINGS, WAS_NOTHING, EDITED_TIMINGS)
        return
    if not a.is_stream or a.has_options or not wanted(a):
        return
    if a.wish >= WISH_RUNNING:
        offer(a, due, OPTIONS_RUNNING, WAS_NOTHING, EDITED_USAGE | EDITED_RUNNING)
    else:
        offer(a, due, OPTIONS, WAS_NOTHING, EDITED_USAGE)


cdef void offer_in_options(Asked *a, Edit *due) noexcept nogil:
    """stream_options is about to end."""
    cdef int edited = wanted(a)
    if edited == 0:
        return
    offer(
        a, due, USAGE if edited == EDITED_USAGE else RUNNING if edited == EDITED_RUNNING else BOTH,
        WAS_NOTHING, edited,
    )
    if not a.has_member:
        due.add += 1
        due.n_add -= 1


cdef void offer_for_value(Asked *a, char first, Edit *due) noexcept nogil:
    """A member of stream_options, or itself, begins with a letter: true, false or null."""
    cdef int was = WAS_FALSE if first == c'f' else <int>WAS_NULL
    if a.key == KEY_OPTIONS:
        if first == c'n' and wanted(a):
            offer(a, due, OBJECT_RUNNING if a.wish >= WISH_RUNNING else OBJECT, was, wanted(a))
        return
    if a.key == KEY_USAGE and first != c't' and wanted(a) & EDITED_USAGE:
        offer(a, due, TRUE_FOR_FALSE if first == c'f' else TRUE_FOR_NULL, was, EDITED_USAGE)
    elif a.key == KEY_RUNNING and first != c't' and wanted(a) & EDITED_RUNNING:
        offer(a, due, TRUE_FOR_FALSE if first == c'f' else TRUE_FOR_NULL, was, EDITED_RUNNING)


cdef void offer_name(Asked *a, Edit *due) noexcept nogil:
    """The model's name is about to begin, and the server calls it something else."""
    due.add = a.rename
    due.n_add = a.rename_len
    due.skip = a.rename_skip
    due.was = WAS_RENAMED
    due.edited = 0
    a.rename_len = 0
    a.key = KEY_OTHER


# ---------------------------------------------------------------- the walk


cdef inline bint is_text(const Asked *a, const char *word, size_t n) noexcept nogil:
    return a.text_len == n and is_equal(a.text, word, n)


cdef int key_of(const Asked *a) noexcept nogil:
    if a.in_options:
        if is_text(a, b"include_usage", 13):
            return KEY_USAGE
        return KEY_RUNNING if is_text(a, b"continuous_usage_stats", 22) else <int>KEY_OTHER
    if is_text(a, b"model", 5):
        return KEY_MODEL
    if is_text(a, b"stream", 6):
        return KEY_STREAM
    if is_text(a, b"n", 1):
        return KEY_N
    if is_text(a, b"timings_per_token", 17):
        return KEY_TIMINGS
    return KEY_OPTIONS if is_text(a, b"stream_options", 14) else <int>KEY_OTHER


cdef inline bint is_read(const Asked *a) noexcept nogil:
    """Whether the members at this depth matter."""
    return a.depth == 1 or (a.depth == 2 and a.in_options)


cdef void end_key(Asked *a) noexcept nogil:
    """A member's name was read; what it had before counts no longer."""
    a.key = <unsigned char>key_of(a)
    a.state = ASKED_COLON
    if a.in_options:
        a.has_member = 1
    elif a.key == KEY_OPTIONS:
        # Twice: which one counts is the server's choice.
        a.is_frozen |= a.has_options
        a.has_options = 1
    elif a.key == KEY_STREAM:
        a.is_stream = 0
    elif a.key == KEY_MODEL:
        a.model_len = 0
    elif a.key == KEY_TIMINGS:
        a.has_timings = 1


cdef void keep(Asked *a, const char *at, size_t len) noexcept nogil:
    """A piece of a key, or of the model's name."""
    cdef size_t room
    if a.state == ASKED_STRING:
        room = sizeof(a.model) - a.model_len
        len = len if len < room else room
        memcpy(a.model + a.model_len, at, len)
        a.model_len += <unsigned char>len
    elif a.text_len <= ASKED_TEXT:
        room = ASKED_TEXT - a.text_len
        memcpy(a.text + a.text_len, at, len if len < room else room)
        a.text_len = <unsigned char>(a.text_len + len if len <= room else ASKED_TEXT + 1)


cdef bint asked_is_in_model(const Asked *a) noexcept nogil:
    """Whether the model's name has begun and not ended."""
    return a.state == ASKED_STRING and a.key == KEY_MODEL


cdef size_t step_string(Asked *a, const char *at, size_t k, size_t len) noexcept nogil:
    """The inside of a string from offset k; returns the offset behind it, or `len`."""
    cdef bint is_escaped = a.is_escaped
    cdef size_t n = string_end(at + k, len - k, &is_escaped)
    a.is_escaped = is_escaped
    if a.state == ASKED_KEY or a.key == KEY_MODEL:
        keep(a, at + k, n)
    if a.state == ASKED_KEY:
        # It might spell a name we know, or not: a parser would tell.
        if memchr(at + k, c'\\', n) != NULL:
            a.is_frozen = 1
            a.is_veiled |= not a.in_options
    if k + n == len:
        return len
    if a.state == ASKED_KEY:
        end_key(a)
    else:
        if a.key == KEY_MODEL and a.has_model < 255:
            a.has_model += 1
        a.key = KEY_OTHER
        a.state = ASKED_PLAIN
    return k + n + 1


cdef size_t begin_value(Asked *a, const char *at, size_t k, Edit *due) noexcept nogil:
    """The first byte of a member's value; returns the offset behind it, or k: an edit is due."""
    cdef char c = at[k]
    a.state = ASKED_PLAIN
    if c == c'f' or c == c'n' or c == c't':
        if a.key == KEY_STREAM:
            a.is_stream = c == c't'
        elif c == c't':
            a.has_usage |= a.key == KEY_USAGE
            a.has_running |= a.key == KEY_RUNNING
            a.asks_running |= a.key == KEY_RUNNING
            a.is_frozen |= a.key == KEY_OPTIONS
        else:
            offer_for_value(a, c, due)
            if due.n_add:
                a.has_usage |= due.edited & EDITED_USAGE
                a.has_running |= (due.edited & EDITED_RUNNING) != 0
            elif a.key == KEY_OPTIONS:
                a.is_frozen |= c == c'f'
        a.key = KEY_OTHER
        return k if due.n_add else k + 1
    if a.key == KEY_OPTIONS and c == c'{':
        a.in_options = 1
        a.has_member = 0
        a.depth += 1
        a.key = KEY_OTHER
        return k + 1
    if a.key == KEY_N and c'0' <= c <= c'9':
        a.state = ASKED_NUMBER
        a.n = c - c'0'
        return k + 1
    if a.key == KEY_MODEL and c == c'"' and a.rename_len:
        offer_name(a, due)
        return k
    # A string or a number where a boolean belongs: some servers convert it, we do not guess.
    a.is_frozen |= a.key in (KEY_OPTIONS, KEY_USAGE, KEY_RUNNING, KEY_STREAM)
    if a.key != KEY_MODEL or c != c'"':
        a.key = KEY_OTHER
    return step_plain(a, at, k, due, 1)


cdef size_t close_level(Asked *a, char c, size_t k, Edit *due) noexcept nogil:
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
    if due.n_add:
        return k
    if a.depth:
        a.depth -= 1
    return k + 1


cdef size_t step_plain(
    Asked *a, const char *at, size_t k, Edit *due, bint is_value,
) noexcept nogil:
    """One byte between tokens, and the token it begins; returns the offset behind it. A string that
    is no value names one."""
    cdef char c = at[k]
    if c == c'"':
        a.state = ASKED_KEY if is_read(a) and not is_value else <int>ASKED_STRING
        a.text_len = 0
        a.is_escaped = 0
        return k + 1
    if c == c'}' or c == c']':
        return close_level(a, c, k, due)
    if c == c'{' or c == c'[':
        a.is_frozen |= a.depth == 0 and c == c'['
        a.depth += 1
    return k + 1


cdef size_t step_member(Asked *a, const char *at, size_t k, Edit *due) noexcept nogil:
    """One byte behind a name, or of the number it names; returns the offset behind it."""
    cdef char c = at[k]
    if a.state == ASKED_NUMBER:
        if c'0' <= c <= c'9':
            a.n = <unsigned short>(a.n * 10 + (c - c'0') if a.n < 1000 else a.n)
            return k + 1
        a.state = ASKED_PLAIN
        a.key = KEY_OTHER
        return k
    if a.state == ASKED_COLON:
        if c == c':':
            a.state = ASKED_VALUE
        return k + 1
    if c == c' ' or c == c'\n' or c == c'\r' or c == c'\t':
        return k + 1
    return begin_value(a, at, k, due)


cdef bint may_matter(const char *at, size_t len) noexcept nogil:
    """Whether a name of the root's is one we know, or spells we do not know what."""
    return len in (1, 5, 6, 14, 17) or memchr(at, c'\\', len) != NULL


cdef size_t pass_members(const char *at, size_t k, size_t len) noexcept nogil:
    """Over members of the root that mean nothing here, from a name on, while each is all here."""
    cdef Member it
    while k < len and at[k] == c'"' and is_member(at, k, len, &it) \
            and not may_matter(at + it.name, it.name_len):
        k = it.next
    return k


cdef size_t asked_feed(Asked *a, const char *at, size_t len, Edit *due) noexcept nogil:
    """Read up to `len` bytes; returns how many were read. due.n_add != 0: an edit belongs exactly
    there. Whoever makes it leaves out due.skip bytes that follow; whoever does not goes on."""
    cdef size_t k = 0
    due.n_add = due.skip = 0
    while k < len and not a.is_done and due.n_add == 0:
        if a.state == ASKED_PLAIN:
            if is_read(a) or a.depth == 0:
                k = skip_to(at, k, len, MARK_TOKEN)
                if a.depth == 1:
                    k = pass_members(at, k, len)
            else:
                k = skip_level(at, k, len, &a.depth)
            if k < len:
                k = step_plain(a, at, k, due, 0)
        elif a.state == ASKED_KEY or a.state == ASKED_STRING:
            k = step_string(a, at, k, len)
            if a.state == ASKED_COLON and k < len and at[k] == c':':
                a.state = ASKED_VALUE
                k += 1
        else:
            k = step_member(a, at, k, due)
    return k if due.n_add else len
