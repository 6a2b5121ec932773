from libc.stddef cimport size_t
from libc.stdint cimport uint8_t
from libc.string cimport memset

from zeroproxy._fast.types.model cimport MODEL_MAX, ModelName, Unescape

cdef size_t unescape(Unescape *u, char c, char *out) noexcept nogil
cdef size_t unescape_end(Unescape *u, char *out) noexcept nogil
cdef void name_free(ModelName *m) noexcept nogil
cdef void name_add(ModelName *m, const char *at, size_t n) noexcept nogil
cdef void name_feed(ModelName *m, const char *at, size_t n) noexcept nogil
cdef void end_escape(ModelName *m) noexcept nogil
cdef bint name_is(const ModelName *m, const char *at, size_t len) noexcept nogil
cdef size_t name_write(const ModelName *m, char *out) noexcept nogil
cdef bint is_true(const char *at, size_t n, bint is_number) noexcept nogil
cdef bint is_plain(uint8_t *state, const char *at, size_t n) noexcept nogil


cdef inline void name_clear(ModelName *m) noexcept nogil:
    m.len = 0
    memset(&m.text, 0, sizeof(Unescape))


cdef inline void name_end(ModelName *m) noexcept nogil:
    """Its closing quote was read."""
    if m.text.high or m.text.state:
        end_escape(m)
