"""The surface of all upstreams, compiled and prepared as a Step of a change (engine/change.pyx).

Law 1. Only stage_surfaces can fail, as in engine/change_steps.pyx.
Law 2. A Surface that was in force is kept until the plane ends: an exchange that began under it
       may still be read. An equal one replaces nothing, so only changes cost memory.
Tests: tests/relay/test_surface.py, tests/relay/test_engine_api.py.
"""

import hashlib
import itertools

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from zeroproxy._fast.engine.change_steps cimport make
from zeroproxy._fast.engine.values cimport demand_type, encoded
from zeroproxy._fast.request.surface cimport HEADER_LEAST, header_bit, path_place
from zeroproxy._fast.types.change cimport Step
from zeroproxy._fast.types.plane cimport Plane
from zeroproxy._fast.types.surface cimport (
    MEMBERS_MOST,
    METHODS_ALL,
    METHODS_WEBSOCKET,
    NAME_MOST,
    HeaderTable,
    MemberNames,
    NameRule,
    PathRule,
    PathTable,
    Surface,
    SurfaceRow,
)

from zeroproxy._fast.engine.enum_names import METHODS
from zeroproxy._fast.engine.settings_types import SurfaceSettings

cdef enum:
    PATH_MOST = 1024        # bytes
    PATHS_MOST = 4096       # of one upstream
    HEADERS_MOST = 256


cdef struct Piece:          # of the memory of a Surface, which lies behind it
    Piece *next


cdef void *take(Surface *t, size_t size) except NULL:
    """Zeroed memory that lives as long as the Surface."""
    cdef Piece *it = <Piece *>calloc(1, sizeof(Piece) + max(size, 1))
    if it == NULL:
        raise MemoryError
    it.next = <Piece *>t.pieces
    t.pieces = it
    return it + 1


cdef void surface_free(Surface *t) noexcept nogil:
    cdef Piece *it = <Piece *>t.pieces if t != NULL else NULL
    cdef Piece *next_
    while it != NULL:
        next_ = it.next
        free(it)
        it = next_
    free(t)


cdef void surfaces_free(Plane *p) noexcept nogil:
    cdef Surface *older
    while p.surface != NULL:
        older = p.surface.older
        surface_free(p.surface)
        p.surface = older


# ---------------------------------------------------------------- paths


cdef uint16_t methods_of(methods) except? 0:
    cdef uint16_t found = 0
    demand_type(methods, "surface.paths", tuple)
    if not methods:
        return METHODS_ALL
    for name in methods:
        demand_type(name, "surface.paths", str)
        if name == "WEBSOCKET":
            found |= METHODS_WEBSOCKET
        elif name in METHODS[1:]:
            found |= <uint16_t>(1 << <int>METHODS.index(name))
        else:
            raise ValueError(f"surface.paths: {name} is no method of {', '.join(METHODS[1:])}")
    return found


cdef list encode_paths(paths):
    """(path as bytes, methods) of each."""
    cdef list found = []
    demand_type(paths, "surface.paths", dict)
    if len(paths) > PATHS_MOST:
        raise ValueError(f"surface.paths: more than {PATHS_MOST}")
    for path, methods in paths.items():
        text = encoded(path, "surface.paths", PATH_MOST)
        if not text.startswith(b"/"):
            raise ValueError(f"surface.paths: {path} does not begin with /")
        found.append((text, methods))
    return found


cdef int read_rule(PathRule *to, const char *path, size_t len, methods) except -1:
    to.methods = methods_of(methods)
    to.path = path
    to.len = <uint16_t>len
    return 0


cdef PathTable *read_paths(Surface *t, paths) except NULL:
    """`paths`: methods by path; None: everything passes."""
    cdef PathTable *to = <PathTable *>take(t, sizeof(PathTable))
    cdef uint32_t size = 8, k
    cdef list entries
    cdef bytes text
    cdef char *at
    if paths is None:
        to.is_open = 1
        return to
    entries = encode_paths(paths)
    while size < 2 * len(entries) + 2:
        size *= 2
    to.mask = size - 1
    to.places = <PathRule *>take(t, size * sizeof(PathRule))
    to.prefixes = <PathRule *>take(t, len(entries) * sizeof(PathRule))
    at = <char *>take(t, sum([len(text) for text, _ in entries]))
    for text, methods in entries:
        memcpy(at, <const char *>text, len(text))
        if text.endswith(b"/*"):
            read_rule(&to.prefixes[to.n_prefixes], at, len(text) - 1, methods)
            to.n_prefixes += 1
        else:
            k = path_place(at, len(text)) & to.mask
            while to.places[k].len:
                k = (k + 1) & to.mask
            read_rule(&to.places[k], at, len(text), methods)
        at += len(text)
    return to


# ---------------------------------------------------------------- names


cdef int read_name(NameRule *to, name, str key, int least) except -1:
    cdef bytes text = encoded(name, key, NAME_MOST + 1).lower()
    cdef bytes plain = text.removesuffix(b"*")
    if not all(c"!" <= one <= c"~" and one not in b'"\\' for one in text):
        raise ValueError(f"{key}: {name} is not printable ASCII without quotes")
    if not least <= len(plain) <= NAME_MOST:
        raise ValueError(f"{key}: {name} does not have {least} to {NAME_MOST} bytes")
    to.is_prefix = plain != text
    to.len = <uint8_t>len(plain)
    memcpy(to.name, <const char *>text, len(text))
    return 0


cdef int admit(HeaderTable *to, const char *name) except -1:
    """Let names with these bytes through the filter, and those with "_" for "-"."""
    cdef uint32_t bit
    each = [{name[k], c"_" if name[k] == c"-" else name[k]} for k in (0, 2, 3)]
    for first, third, fourth in itertools.product(*each):
        bit = header_bit(first, third, fourth)
        to.filter[bit >> 6] |= <uint64_t>1 << (bit & 63)
    return 0


cdef HeaderTable *read_headers(Surface *t, kept, stripped) except NULL:
    cdef HeaderTable *to = <HeaderTable *>take(t, sizeof(HeaderTable))
    cdef str key = "surface.strip_headers"
    demand_type(kept, "surface.keep_headers", tuple)
    demand_type(stripped, key, tuple)
    if len(kept) + len(stripped) > HEADERS_MOST:
        raise ValueError(f"{key}: more than {HEADERS_MOST}")
    to.rules = <NameRule *>take(t, (len(kept) + len(stripped)) * sizeof(NameRule))
    for name in (*kept, *stripped):
        read_name(&to.rules[to.n], name, key, HEADER_LEAST)
        to.rules[to.n].is_kept = to.n < <uint32_t>len(kept)
        admit(to, to.rules[to.n].name)
        to.n += 1
    return to


cdef int add_member(MemberNames *m, name) except -1:
    cdef NameRule *to = &m.rules[m.n]
    cdef uint64_t lens
    if m.n == MEMBERS_MOST:
        raise ValueError(f"surface.refuse_fields: more than {MEMBERS_MOST} names in all upstreams")
    read_name(to, name, "surface.refuse_fields", 1)
    lens = <uint64_t>1 << to.len
    if to.is_prefix:
        lens = ~(lens - 1)
    m.lens[to.name[0] & 31] |= lens
    m.n += 1
    return 0


cdef uint64_t read_members(Surface *t, refused, dict known) except? 0:
    """Bits of the names; `known`: the bit of each that any upstream refuses."""
    cdef uint64_t bits = 0
    demand_type(refused, "surface.refuse_fields", tuple)
    for name in refused:
        demand_type(name, "surface.refuse_fields", str)
        if name.lower() not in known:
            known[name.lower()] = t.members.n
            add_member(&t.members, name)
        bits |= <uint64_t>1 << <int>known[name.lower()]
    return bits


# ---------------------------------------------------------------- all of it


cdef int read_rows(Surface *t, list surfaces) except -1:
    cdef SurfaceRow *row
    cdef uint32_t at
    cdef dict known = {}
    cdef list tables = []
    t.rows = <SurfaceRow *>take(t, len(surfaces) * sizeof(SurfaceRow))
    t.tables = <PathTable **>take(t, len(surfaces) * sizeof(PathTable *))
    for settings in surfaces:
        demand_type(settings, "surfaces", SurfaceSettings)
        if settings.paths not in tables:
            t.tables[t.n_tables] = read_paths(t, settings.paths)
            t.n_tables += 1
            tables.append(settings.paths)
        at = tables.index(settings.paths)
        row = &t.rows[t.n_rows]
        row.paths = t.tables[at]
        row.headers = read_headers(t, settings.keep_headers, settings.strip_headers)
        row.refuses = read_members(t, settings.refuse_fields, known)
        t.n_rows += 1
    return 0


cdef void apply_surface(Plane *p, void *what) noexcept nogil:
    cdef Surface **to = <Surface **>what
    cdef Surface *t = to[0]
    if p.surface != NULL and memcmp(p.surface.digest, t.digest, sizeof(t.digest)) == 0:
        return
    t.older = p.surface
    p.surface = t
    to[0] = NULL


cdef void discard_surface(void *what) noexcept nogil:
    surface_free((<Surface **>what)[0])
    free(what)


cdef int stage_surfaces(Step *s, list surfaces, int n_upstreams) except -1:
    cdef Surface **to = <Surface **>make(s, sizeof(Surface *))
    cdef Surface *t
    cdef bytes digest
    s.discard = discard_surface
    if len(surfaces) != n_upstreams:
        raise ValueError(f"surfaces: {len(surfaces)} of them, and {n_upstreams} upstreams")
    to[0] = t = <Surface *>calloc(1, sizeof(Surface))
    if t == NULL:
        raise MemoryError
    read_rows(t, surfaces)
    digest = hashlib.sha256(repr(surfaces).encode()).digest()
    memcpy(t.digest, <const char *>digest, sizeof(t.digest))
    s.apply = apply_surface
    return 0
