"""The `model` in the query of a request's target, for requests without a body."""

from libc.stddef cimport size_t
from libc.string cimport memchr, memcmp

from zeroproxy._fast.http1.grammar cimport hex_of
from zeroproxy._fast.jsonscan.strings cimport name_add, name_clear
from zeroproxy._fast.types.http cimport Head
from zeroproxy._fast.types.model_name cimport ModelName


cdef void add_decoded(ModelName *name, const char *at, size_t n) noexcept nogil:
    """Decode percent-encoding, and a plus as a blank, as browsers and clients write queries."""
    cdef size_t k = 0
    cdef char c
    while k < n:
        c = c' ' if at[k] == c'+' else at[k]
        if c == c'%' and n - k > 2 and hex_of(at[k + 1]) >= 0 and hex_of(at[k + 2]) >= 0:
            c = <char>(hex_of(at[k + 1]) << 4 | hex_of(at[k + 2]))
            k += 2
        name_add(name, &c, 1)
        k += 1


cdef bint query_model(const Head *h, ModelName *name) noexcept nogil:
    cdef const char *at = h.base + h.target_at
    cdef const char *end = at + h.target_len
    cdef const char *stop
    name_clear(name)
    at = <const char *>memchr(at, c'?', h.target_len)
    while at != NULL and at < end:
        at += 1
        stop = <const char *>memchr(at, c'&', <size_t>(end - at))
        if stop == NULL:
            stop = end
        if stop - at > 6 and memcmp(at, b"model=", 6) == 0:
            add_decoded(name, at + 6, <size_t>(stop - at) - 6)
            return 1
        at = stop
    return 0
