from libc.stdint cimport uint64_t

from zeroproxy._fast.types.meter cimport RequestScan

# ---- for a scan with terms.reads

# Name of a member, in a.text, at the level that a.inside tells.
cdef void note_name(RequestScan *a) noexcept nogil
# The value of a.key begins at offset `at` with `c`.
cdef void note_value(RequestScan *a, uint64_t at, char c) noexcept nogil
# End of the number or text in a.text, of KEY_N or KEY_BOUND.
cdef void note_number(RequestScan *a) noexcept nogil
# A container with sampling parameters ends at offset `at`, with the bracket `c`.
cdef void end_container(RequestScan *a, uint64_t at, char c) noexcept nogil
# The root ends at offset `at`, with the bracket `c`.
cdef void end_root(RequestScan *a, uint64_t at, char c) noexcept nogil
