"""Pages of other origins: the lines of a response by which a browser lets its page read it.

Law 1. An origin is compared byte by byte, as browsers write it. Nothing of a caller is echoed.
Law 2. Where origins are listed, each response has Vary: Origin, so that no cache serves one page
       the lines of another.
Law 3. A known Origin does not go upstream: the decision was made here, and some servers refuse
       origins that they do not know.
Tests: tests/relay/test_cors.py.
"""

from libc.stdint cimport uint32_t
from libc.string cimport memcmp

from zeroproxy._fast.http1.cors_fields cimport find_origin
from zeroproxy._fast.types.cors cimport CorsOrigin, CorsTable
from zeroproxy._fast.types.http cimport Field, Head
from zeroproxy._fast.types.plane cimport Plane, Relay


cdef const CorsOrigin *find_listed(
    const CorsTable *t, const char *at, size_t len,
) noexcept nogil:
    cdef uint32_t k
    for k in range(t.n):
        if t.origins[k].name.len == len and memcmp(t.origins[k].name.at, at, len) == 0:
            return &t.origins[k]
    return NULL


cdef void judge_origin(const Plane *p, Relay *r, Head *h) noexcept nogil:
    cdef const CorsTable *t = p.cors
    cdef const CorsOrigin *listed
    cdef Field *f
    cdef int i = find_origin(h)
    r.x.cors = &t.others
    if i < 0:
        return
    f = &h.fields[i]
    if t.allows_any:
        f.nominated = 1
        return
    listed = find_listed(t, h.base + f.value_at, f.value_len)
    if listed != NULL:
        r.x.cors = &listed.lines
        f.nominated = 1
