"""Names of members that an upstream refuses.

Law. A name is compared decoded, and in any case: some servers ignore it.
Tests: tests/unit/test_refused_members.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t

from zeroproxy._fast.http1.grammar cimport Cursor, begins_with
from zeroproxy._fast.types.surface cimport MemberNames, NameRule


cdef uint64_t refused_names(const MemberNames *m, const char *at, size_t len) noexcept nogil:
    cdef uint64_t found = 0
    cdef uint32_t k
    cdef const NameRule *it
    for k in range(m.n):
        it = &m.rules[k]
        if (len == it.len or (len > it.len and it.is_prefix)) \
                and begins_with(<Cursor>at, it.name, it.len):
            found |= <uint64_t>1 << k
    return found
