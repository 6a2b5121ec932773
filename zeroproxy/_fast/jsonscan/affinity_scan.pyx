"""What a request body says of whose it is: the user it names, and how its prompt begins.

Law 1. A flat look at the start of a body, made anew when there is more of it; no object is built.
Law 2. What is hashed are raw bytes, the same in every split: of a user the inside of the string, of
       a prompt the first bytes of its JSON. Two spellings of one text are two keys.
Law 3. Of several that count the first in the body does.
Tests: tests/relay/test_balance.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp, memset

from zeroproxy._fast.jsonscan.affinity_scan cimport AFFINITY_ABSENT, AFFINITY_FOUND, AFFINITY_MORE
from zeroproxy._fast.jsonscan.tokens cimport string_end


cdef extern from "hash.h" nogil:
    uint64_t zp_hash(const void *at, size_t len)


cdef enum Member:           # of the root, or of its metadata
    MEMBER_OTHER = 0
    MEMBER_USER
    MEMBER_PROMPT
    MEMBER_METADATA


cdef struct Look:           # where a look at a body is
    const char *at
    size_t len
    size_t k                # the next byte
    size_t prompt_at        # 0: it has not begun
    uint32_t depth
    int member              # Member whose value is next, or being read
    bint is_value           # between a colon and the comma
    bint in_metadata
    bint is_over            # the root has ended, or was none


cdef uint64_t key_of(const char *at, size_t len) noexcept nogil:
    """Never 0, which is no key."""
    cdef uint64_t h = zp_hash(at, len)
    return h if h else 1


cdef inline bint is_text(const char *at, size_t n, const char *word, size_t len) noexcept nogil:
    return n == len and memcmp(at, word, len) == 0


cdef int member_of(const char *at, size_t n, bint in_metadata) noexcept nogil:
    """OpenAI says user, prompt_cache_key or safety_identifier, Anthropic metadata.user_id."""
    if in_metadata:
        return MEMBER_USER if is_text(at, n, b"user_id", 7) else <int>MEMBER_OTHER
    if is_text(at, n, b"user", 4) or is_text(at, n, b"prompt_cache_key", 16) \
            or is_text(at, n, b"safety_identifier", 17):
        return MEMBER_USER
    if is_text(at, n, b"messages", 8) or is_text(at, n, b"prompt", 6) \
            or is_text(at, n, b"input", 5):
        return MEMBER_PROMPT
    return MEMBER_METADATA if is_text(at, n, b"metadata", 8) else <int>MEMBER_OTHER


cdef inline bint is_read(const Look *l) noexcept nogil:
    return l.depth == 1 or (l.depth == 2 and l.in_metadata)


cdef void end_prompt(Look *l, AffinityScan *k, size_t end, uint32_t prefix) noexcept nogil:
    """What is here of it ends at `end`."""
    cdef size_t n = end - l.prompt_at
    if l.prompt_at and k.prompt != AFFINITY_FOUND:
        k.prompt = AFFINITY_FOUND
        k.prompt_hash = key_of(l.at + l.prompt_at, n if n < prefix else prefix)


cdef void read_string(Look *l, AffinityScan *k) noexcept nogil:
    """A string whose inside begins at l.k; one that does not end here is left for the next look."""
    cdef const char *inside = l.at + l.k
    cdef bint is_escaped = 0
    cdef size_t n = string_end(inside, l.len - l.k, &is_escaped)
    l.k += n + 1
    if l.k > l.len or not is_read(l):
        return
    if not l.is_value:
        l.member = member_of(inside, n, l.in_metadata)
    elif l.member == MEMBER_USER and n and k.user != AFFINITY_FOUND:
        k.user = AFFINITY_FOUND
        k.user_hash = key_of(inside, n)


cdef void begin_value(Look *l) noexcept nogil:
    """Behind a colon that counts."""
    l.is_value = 1
    while l.k < l.len and l.at[l.k] in (c' ', c'\n', c'\r', c'\t'):
        l.k += 1
    if l.member == MEMBER_PROMPT and l.depth == 1 and l.prompt_at == 0 and l.k < l.len:
        l.prompt_at = l.k


cdef void change_level(Look *l, AffinityScan *k, char c, uint32_t prefix) noexcept nogil:
    if c == c'{' or c == c'[':
        if l.depth == 0:
            l.is_over = c == c'['
        elif l.depth == 1 and l.is_value and l.member == MEMBER_METADATA and c == c'{':
            l.in_metadata = 1
            l.is_value = 0
        l.depth += 1
        return
    if l.depth <= 1:
        l.is_over = 1
        end_prompt(l, k, l.k - 1, prefix)
        return
    l.depth -= 1
    if l.depth == 1:
        l.in_metadata = 0
        l.is_value = 1


cdef void step(Look *l, AffinityScan *k, uint32_t prefix) noexcept nogil:
    cdef char c = l.at[l.k]
    l.k += 1
    if c == c'"':
        read_string(l, k)
    elif c == c'{' or c == c'[' or c == c'}' or c == c']':
        change_level(l, k, c, prefix)
    elif c == c':' and is_read(l):
        begin_value(l)
    elif c == c',' and is_read(l):
        if l.depth == 1:
            end_prompt(l, k, l.k - 1, prefix)
        l.is_value = 0
        l.member = MEMBER_OTHER


cdef void affinity_scan_read(
    AffinityScan *k, const char *at, size_t len, bint is_all, uint32_t prefix,
) noexcept nogil:
    """Look at the first `len` bytes of a body; is_all: there are no more, or none that count."""
    cdef Look l
    memset(k, 0, sizeof(AffinityScan))
    memset(&l, 0, sizeof(Look))
    l.at = at
    l.len = len
    while l.k < len and not l.is_over and (k.user != AFFINITY_FOUND or k.prompt != AFFINITY_FOUND):
        step(&l, k, prefix)
    if l.prompt_at and (is_all or len - l.prompt_at >= prefix):
        end_prompt(&l, k, len, prefix)
    if is_all or l.is_over:
        if k.user == AFFINITY_MORE:
            k.user = AFFINITY_ABSENT
        if k.prompt == AFFINITY_MORE:
            k.prompt = AFFINITY_ABSENT
