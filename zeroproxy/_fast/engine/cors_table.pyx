"""The lines of responses to pages of other origins, made once as a Step of a change
(engine/change.pyx).

Law 1. Only stage_cors can fail, as in engine/change_steps.pyx.
Law 2. A table that was in force lives as long as the plane, since exchanges borrow its lines.
Tests: tests/relay/test_cors.py, tests/relay/test_change.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

from zeroproxy._fast.engine.change_steps cimport make
from zeroproxy._fast.engine.values cimport demand_type, encoded, whole
from zeroproxy._fast.types.change cimport Step
from zeroproxy._fast.types.cors cimport CorsOrigin, CorsTable
from zeroproxy._fast.types.http cimport Span
from zeroproxy._fast.types.plane cimport Plane

from zeroproxy.config.cors import Cors

cdef enum:
    TEXT_MAX = 1024         # bytes of an origin, or of the name of a field
    AGE_MAX = 86400

METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
ANY = b"Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: *\r\n"
LISTED = (
    b"Access-Control-Allow-Origin: %b\r\nAccess-Control-Expose-Headers: *\r\nVary: Origin\r\n"
)


cdef struct Made:           # what of the Step
    CorsTable *table        # owned until it is in force; NULL: CORS is off


cdef void free_table(CorsTable *t) noexcept nogil:
    if t != NULL:
        free(t.text)
        free(t.origins)
        free(t)


cdef bint is_same(const CorsTable *one, const CorsTable *other) noexcept nogil:
    return one != NULL and other != NULL and one.len == other.len and one.n == other.n \
        and memcmp(one.text, other.text, one.len) == 0


cdef void apply_cors(Plane *p, void *what) noexcept nogil:
    cdef Made *made = <Made *>what
    if is_same(p.cors, made.table):
        return
    p.cors = made.table
    if made.table != NULL:
        made.table.older = p.all_cors
        p.all_cors = made.table
        made.table = NULL


cdef void discard_cors(void *what) noexcept nogil:
    free_table((<Made *>what).table)
    free(what)


cdef void cors_free(Plane *p) noexcept nogil:
    cdef CorsTable *t
    while p.all_cors != NULL:
        t = p.all_cors
        p.all_cors = t.older
        free_table(t)
    p.cors = NULL


cdef bytes as_value(text, str key):
    """Bytes that a field line may hold."""
    cdef bytes value = encoded(text, key, TEXT_MAX)
    if not value or not all(0x20 < c < 0x7F for c in value):
        raise ValueError(f"{key}: not visible ASCII")
    return value


cdef bytes preflight_of(cors):
    """Lines that only a preflight needs. "*" does not stand for Authorization (Fetch,
    CORS-preflight fetch)."""
    names = [as_value(name, "cors.headers") for name in cors.headers]
    if names == [b"*"]:
        names.append(b"Authorization")
    age = whole(cors.max_age, "cors.max_age", 0, AGE_MAX)
    allowed = b"Access-Control-Allow-Headers: %b\r\n" % b", ".join(names) if names else b""
    return b"Access-Control-Allow-Methods: %b\r\n%bAccess-Control-Max-Age: %d\r\n" % (
        METHODS, allowed, age
    )


cdef Span span_of(const CorsTable *t, size_t at, size_t n) noexcept nogil:
    cdef Span s
    s.at = t.text + at
    s.len = n
    return s


cdef CorsTable *new_table(bytes text, uint32_t n) except NULL:
    cdef CorsTable *t = <CorsTable *>calloc(1, sizeof(CorsTable))
    if t == NULL:
        raise MemoryError
    t.text = <char *>malloc(max(len(text), 1))
    t.origins = <CorsOrigin *>calloc(max(n, 1), sizeof(CorsOrigin))
    if t.text == NULL or t.origins == NULL:
        free_table(t)
        raise MemoryError
    memcpy(t.text, <const char *>text, len(text))
    t.len, t.n = len(text), n
    return t


cdef CorsTable *table_of(cors) except NULL:
    """A table in one text: the preflight's lines, those of other origins, then names and lines."""
    cdef bytes preflight = preflight_of(cors)
    cdef bint allows_any = "*" in cors.origins
    cdef bytes others = ANY if allows_any else b"Vary: Origin\r\n"
    cdef CorsTable *t
    cdef size_t at = len(preflight) + len(others)
    cdef uint32_t k = 0
    names = [] if allows_any else [as_value(origin, "cors.origins") for origin in cors.origins]
    lines = [LISTED % name for name in names]
    parts = [part for pair in zip(names, lines, strict=True) for part in pair]
    t = new_table(b"".join([preflight, others, *parts]), <uint32_t>len(names))
    t.allows_any = allows_any
    t.preflight = span_of(t, 0, len(preflight))
    t.others = span_of(t, len(preflight), len(others))
    for name, line in zip(names, lines, strict=True):
        t.origins[k].name = span_of(t, at, len(name))
        t.origins[k].lines = span_of(t, at + len(name), len(line))
        at += len(name) + len(line)
        k += 1
    return t


cdef int stage_cors(Step *s, cors) except -1:
    cdef Made *made = <Made *>make(s, sizeof(Made))
    s.discard = discard_cors
    demand_type(cors, "cors", Cors)
    if cors.origins:
        made.table = table_of(cors)
    s.apply = apply_cors
    return 0
