# Names of members in the root of a request body. All bytes are borrowed.

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t
from libc.string cimport memchr

from zeroproxy._fast.types.meter cimport RequestScan
from zeroproxy._fast.types.surface cimport MemberNames

# Bits of the rules that the decoded name meets. It may be cut behind NAME_MOST bytes; `len` is
# larger then.
cdef uint64_t refused_names(const MemberNames *m, const char *at, size_t len) noexcept nogil


# False for a name without an escape that no rule meets.
cdef inline bint may_be_refused(const MemberNames *m, const char *at, size_t len) noexcept nogil:
    return len != 0 and m.lens[at[0] & 31] >> (len if len < 63 else 63) & 1


# False for a name that means nothing to the scan; it is judged by length and first byte, and by an
# escape.
cdef inline bint may_matter(const RequestScan *a, const char *at, size_t len) noexcept nogil:
    if len in (1, 4, 5, 6, 8, 14, 16, 17) \
            and at[0] in (c'M', c'i', c'm', c'n', c'p', c's', c't', c'u'):
        return 1
    if (a.reads_bound or a.of_kind.terms.reads) and len in (7, 9, 10, 15, 21):
        return 1
    if a.of_kind.terms.reads and len in (1, 4, 6, 12, 14, 17):
        return 1
    return memchr(at, c'\\', len) != NULL
