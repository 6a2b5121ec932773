from libc.stdint cimport uint64_t

from zeroproxy._fast.types.meter cimport RequestScan

cdef void add_place(RequestScan *a, uint64_t at, int key, char first, int lacks) noexcept nogil
cdef void note_option(RequestScan *a) noexcept nogil
cdef void take_word(RequestScan *a, uint64_t at, char c) noexcept nogil
cdef void take_place(RequestScan *a, uint64_t at, char c) noexcept nogil
cdef void end_options(RequestScan *a, uint64_t at, char c) noexcept nogil


cdef inline void end_prompt(RequestScan *a, uint64_t at) noexcept nogil:
    """A comma or a bracket behind its value, if it is one's."""
    if a.in_prompt:
        a.in_prompt = 0
        a.prompt_end = at
