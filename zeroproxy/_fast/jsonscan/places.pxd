from libc.stdint cimport uint64_t

from zeroproxy._fast.types.meter cimport RequestScan

# Note a place at offset `at` of the body: its Key, its first byte, and Edited flags of the counts
# not requested up to there. At most PLACES_MAX.
cdef void add_place(RequestScan *a, uint64_t at, int key, char first, int lacks) noexcept nogil
# Name of a member of stream_options: in a.key.
cdef void note_option(RequestScan *a) noexcept nogil
# The value of a.key at offset `at` is true, false or null; `c`: its first letter.
cdef void take_word(RequestScan *a, uint64_t at, char c) noexcept nogil
# A value of a.key begins at offset `at` with `c`: note it if its place matters.
cdef void take_place(RequestScan *a, uint64_t at, char c) noexcept nogil
# stream_options ends at offset `at`, with the bracket `c`.
cdef void end_options(RequestScan *a, uint64_t at, char c) noexcept nogil


cdef inline void end_prompt(RequestScan *a, uint64_t at) noexcept nogil:
    """End of the prompt's value, if it is being read: a comma or a bracket at offset `at`."""
    if a.in_prompt:
        a.in_prompt = 0
        a.prompt_end = at
