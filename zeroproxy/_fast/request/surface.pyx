"""The surface of an upstream: paths and methods that pass, header fields and members that do not.

Law 1. A path is compared as it stands, up to its query. Behind a prefix there is only what every
       server reads as it is. That excludes "%", ";", "\\", empty and dot segments, and bytes above
       ASCII. So decoding makes no other path out of a listed one.
Law 2. The surface in force when a head came holds for its exchange, whatever a reload brings. It
       does not hold for a key that passes all.
Law 3. A path is judged before the body is waited for: it passes if any upstream has it. It is
       judged again for the upstream that the model leads to, before an endpoint is chosen.
Law 4. Headers are compared with "_" as "-": CGI-like servers read both as one.
Tests: tests/relay/test_surface.py, tests/relay/test_surface_headers.py,
       tests/relay/test_surface_members.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp

from zeroproxy._fast.http1.grammar cimport Cursor, fold
from zeroproxy._fast.types.http cimport (
    FAULT_NONE,
    FAULT_PATH,
    FAULT_PATH_METHOD,
    METHOD_GET,
    METHOD_HEAD,
    METHOD_OPTIONS,
    UPGRADE_IGNORED,
    UPGRADE_WEBSOCKET,
    Field,
    Head,
    Span,
)
from zeroproxy._fast.types.plane cimport Plane, Relay
from zeroproxy._fast.types.surface cimport (
    METHODS_ALL,
    METHODS_WEBSOCKET,
    HeaderTable,
    NameRule,
    PathRule,
    PathTable,
    Surface,
)

cdef extern from "hash.h" nogil:
    uint64_t zp_hash(const void *at, size_t len)


# ---------------------------------------------------------------- paths


cdef uint32_t path_place(const char *at, size_t len) noexcept nogil:
    return <uint32_t>(zp_hash(at, len) >> 32)


cdef Span raw_path(const Head *h) noexcept nogil:
    """The path as an endpoint gets it, without the query; len 0: it is "*"."""
    cdef Span s
    cdef const char *query
    s.at = h.base + h.target_at
    s.len = h.target_len
    query = <const char *>memchr(s.at, c'?', s.len)
    if query != NULL:
        s.len = <size_t>(query - s.at)
    if s.len == 0 and (h.target_len or h.method != METHOD_OPTIONS):
        s.at = b"/"
        s.len = 1
    return s


cdef bint is_plain_rest(const char *at, size_t n) noexcept nogil:
    """Apply law 1 to the segments behind a prefix."""
    cdef size_t k, begin = 0
    cdef char c
    for k in range(n + 1):
        if k == n or at[k] == c'/':
            if k == begin or (at[begin] == c'.' and (
                k == begin + 1 or (k == begin + 2 and at[begin + 1] == c'.')
            )):
                return 0
            begin = k + 1
            continue
        c = at[k]
        if c <= c' ' or c > c'~' or c == c'%' or c == c';' or c == c'\\':
            return 0
    return 1


cdef uint32_t exact_methods(const PathTable *t, Span path) noexcept nogil:
    cdef uint32_t k = path_place(path.at, path.len) & t.mask
    cdef const PathRule *it = &t.places[k]
    while it.len:
        if it.len == path.len and memcmp(it.path, path.at, path.len) == 0:
            return it.methods
        k = (k + 1) & t.mask
        it = &t.places[k]
    return 0


cdef uint32_t prefix_methods(const PathTable *t, Span path) noexcept nogil:
    cdef uint32_t k, methods = 0
    cdef const PathRule *it
    for k in range(t.n_prefixes):
        it = &t.prefixes[k]
        if path.len > it.len and memcmp(it.path, path.at, it.len) == 0 \
                and is_plain_rest(path.at + it.len, path.len - it.len):
            methods |= it.methods
    return methods


cdef enum PathVerdict:
    PATH_PASSES = 0
    PATH_PASSES_PLAIN       # without its Upgrade
    PATH_METHOD             # another method passes
    PATH_UNKNOWN


cdef int by_methods(const Head *h, uint32_t methods) noexcept nogil:
    """HEAD passes as GET does. OPTIONS passes on every path: browsers ask it first."""
    if h.upgrade == UPGRADE_WEBSOCKET and methods & METHODS_WEBSOCKET:
        return PATH_PASSES
    if methods >> h.method & 1 or (h.method == METHOD_HEAD and methods >> <int>METHOD_GET & 1):
        return PATH_PASSES_PLAIN if h.upgrade == UPGRADE_WEBSOCKET else <int>PATH_PASSES
    if methods and h.method == METHOD_OPTIONS:
        return PATH_PASSES
    return PATH_METHOD if methods & ~<uint32_t>METHODS_WEBSOCKET else <int>PATH_UNKNOWN


cdef int verdict_of(const PathTable *t, const Head *h, Span path, Relay *r) noexcept nogil:
    """PathVerdict of a path; adds the methods that pass to r.x.surface.allows."""
    cdef uint32_t methods
    cdef int verdict
    if t.is_open:
        return PATH_PASSES
    methods = exact_methods(t, path)
    verdict = by_methods(h, methods)
    if verdict != PATH_PASSES and t.n_prefixes:
        methods |= prefix_methods(t, path)
        verdict = by_methods(h, methods)
    r.x.surface.allows |= methods & METHODS_ALL
    return verdict


cdef int settle(Relay *r, Head *h, int verdict) noexcept nogil:
    """Fault of a verdict that is final."""
    if verdict == PATH_PASSES_PLAIN:
        h.upgrade = r.x.upgrade = UPGRADE_IGNORED
    if verdict <= PATH_PASSES_PLAIN:
        return FAULT_NONE
    return FAULT_PATH_METHOD if verdict == PATH_METHOD else <int>FAULT_PATH


cdef int judge_path(const Plane *p, Relay *r, Head *h) noexcept nogil:
    """With one table, its verdict is final. Else the path has to be in any."""
    cdef const Surface *s
    cdef Span path
    cdef uint32_t k
    cdef int verdict, best = PATH_UNKNOWN
    if r.x.key != NULL and r.x.key.passes_all:
        r.x.surface.held = NULL
    s = r.x.surface.held
    if s == NULL:
        return FAULT_NONE
    path = raw_path(h)
    r.x.surface.allows = 0
    for k in range(s.n_tables):
        verdict = verdict_of(s.tables[k], h, path, r)
        if s.n_tables == 1:
            return settle(r, h, verdict)
        if verdict <= PATH_PASSES_PLAIN:
            return FAULT_NONE
        best = min(best, verdict)
    return settle(r, h, best)


cdef int judge_routed_path(Relay *r, Head *h, int index) noexcept nogil:
    cdef const Surface *s = r.x.surface.held
    if s == NULL or (s.n_tables == 1 and <uint32_t>index < s.n_rows):
        return FAULT_NONE
    if <uint32_t>index >= s.n_rows:
        return FAULT_PATH
    r.x.surface.allows = 0
    return settle(r, h, verdict_of(s.rows[index].paths, h, raw_path(h), r))


# ---------------------------------------------------------------- members of a body


cdef bint refuses_members(const Relay *r, int index) noexcept nogil:
    cdef const Surface *s = r.x.surface.held
    return s != NULL and <uint32_t>index < s.n_rows and s.rows[index].refuses != 0


cdef bint has_refused_member(Relay *r) noexcept nogil:
    cdef const Surface *s = r.x.surface.held
    cdef uint64_t found = r.x.scan.request.named
    cdef uint8_t k = 0
    if found == 0 or s == NULL:
        return 0
    found &= s.rows[r.x.upstream.index].refuses
    if found == 0:
        return 0
    while not found & 1:
        found >>= 1
        k += 1
    r.x.surface.member = k
    return 1


# ---------------------------------------------------------------- header fields


cdef inline unsigned char plain(char c) noexcept nogil:
    """Apply law 4, in lower case."""
    return c'-' if c == c'_' else fold(<unsigned char>c)


cdef bint is_named(const NameRule *it, Cursor name, size_t n) noexcept nogil:
    cdef size_t k
    if n < it.len or (n > it.len and not it.is_prefix):
        return 0
    for k in range(it.len):
        if plain(<char>name[k]) != plain(it.name[k]):
            return 0
    return 1


cdef bint is_stripped(const HeaderTable *t, Cursor name, size_t n) noexcept nogil:
    cdef uint32_t k
    for k in range(t.n):
        if is_named(&t.rules[k], name, n):
            return not t.rules[k].is_kept
    return 0


cdef void strip_fields(const Relay *r, Head *h) noexcept nogil:
    cdef const HeaderTable *t
    cdef Field *f
    cdef const char *name
    cdef uint32_t bit
    cdef int i
    if r.x.surface.held == NULL:
        return
    t = r.x.surface.held.rows[r.x.upstream.index].headers
    for i in range(h.n_fields if t.n else 0):
        f = &h.fields[i]
        name = h.base + f.name_at
        if f.name_len < HEADER_LEAST:
            continue
        bit = header_bit(name[0], name[2], name[3])
        if t.filter[bit >> 6] >> (bit & 63) & 1 and is_stripped(t, <Cursor>name, f.name_len):
            f.nominated = 1
