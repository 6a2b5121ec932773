from libc.stddef cimport size_t
from libc.stdint cimport uint8_t
from libc.string cimport memset

from zeroproxy._fast.types.model_name cimport ModelName, Unescape

# ---- escapes

# Decode the next byte `c` of a string; returns how many bytes, at most 8, were written to `out`.
cdef size_t unescape(Unescape *u, char c, char *out) noexcept nogil
# End an unfinished escape with U+FFFD; returns how many bytes were written to `out`.
cdef size_t unescape_end(Unescape *u, char *out) noexcept nogil

# ---- names of models. A ModelName owns memory once it is longer than MODEL_HEAD.

# Release the memory of `m`, which is empty afterwards.
cdef void name_free(ModelName *m) noexcept nogil
# Append `n` bytes that are decoded already; copied.
cdef void name_add(ModelName *m, const char *at, size_t n) noexcept nogil
# Append `n` bytes as JSON spells them; copied.
cdef void name_feed(ModelName *m, const char *at, size_t n) noexcept nogil
# End the name inside an escape: for name_end.
cdef void end_escape(ModelName *m) noexcept nogil
# True if the name equals [at, at + len), len <= MODEL_MAX.
cdef bint name_is(const ModelName *m, const char *at, size_t len) noexcept nogil
# Copy the name as text to `out`, which has MODEL_MAX bytes; returns its length.
cdef size_t name_write(const ModelName *m, char *out) noexcept nogil

# ---- values

# True if pydantic, by which vLLM and SGLang read requests, converts the text or number to true.
cdef bint is_true(const char *at, size_t n, bint is_number) noexcept nogil
# True if all parsers see the same strings in the next `n` bytes; `state` is 0 at the first.
cdef bint is_plain(uint8_t *state, const char *at, size_t n) noexcept nogil


cdef inline void name_clear(ModelName *m) noexcept nogil:
    """Empty the name; its memory stays for the next."""
    m.len = 0
    memset(&m.text, 0, sizeof(Unescape))


cdef inline void name_end(ModelName *m) noexcept nogil:
    """End the name at its closing quote."""
    if m.text.high or m.text.state:
        end_escape(m)
