# Tokens of JSON. All bytes are borrowed.

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t

cdef extern from "json_bytes.h" nogil:
    unsigned int MARK_TOKEN "ZP_MARK_TOKEN"     # a string or a level begins or ends
    unsigned int MARK_MEMBER "ZP_MARK_MEMBER"   # a colon or a comma
    unsigned int MARK_VALUE "ZP_MARK_VALUE"     # a number, or true, begins
    size_t skip_to "zp_skip_to"(const char *at, size_t k, size_t len, unsigned int marks)
    size_t skip_level "zp_skip_level"(const char *at, size_t k, size_t len, uint32_t *depth)
    size_t number_end "zp_number_end"(const char *at, size_t k, size_t len)
    bint is_equal "zp_is_equal"(const char *a, const char *b, size_t n)
    struct Member "zp_member":
        size_t name
        size_t name_len
        size_t value
        size_t end
        size_t next
    bint is_member "zp_is_member"(const char *at, size_t k, size_t len, Member *m)
    bint is_plain_string "zp_is_plain_string"(const char *at, size_t len, size_t *n)


# string_end for a string that begins in, or has, an escape.
cdef size_t escaped_end(const char *at, size_t len, bint *is_escaped) noexcept nogil
# Value of a JSON number that is a whole number from 0 on; -1: anything else.
cdef int64_t parse_count(const char *at, size_t len) noexcept nogil


cdef inline size_t string_end(const char *at, size_t len, bint *is_escaped) noexcept nogil:
    """Offset of the closing quote of the string whose inside begins at `at`; `len`: not here.
    `is_escaped`: is the next byte escaped; kept from piece to piece."""
    cdef size_t n
    if not is_escaped[0] and is_plain_string(at, len, &n):
        return n
    return escaped_end(at, len, is_escaped)
