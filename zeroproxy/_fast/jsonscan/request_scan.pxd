from libc.stddef cimport size_t
from libc.stdint cimport uint32_t

from zeroproxy._fast.jsonscan.edits cimport Edit
from zeroproxy._fast.types.meter cimport Asked
from zeroproxy._fast.types.model cimport ModelName

cdef void asked_begin(Asked *a, int wish, ModelName *name) noexcept nogil
cdef void asked_rename(Asked *a, const char *name, size_t len, size_t skip) noexcept nogil
cdef void asked_form(Asked *a, uint32_t until) noexcept nogil
cdef size_t asked_feed(Asked *a, const char *at, size_t len, Edit *due) noexcept nogil
cdef bint asked_is_in_model(const Asked *a) noexcept nogil
