"""Two tokens of JSON that need more than a look at one byte: strings and counts."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t
from libc.string cimport memchr

cdef enum:
    DIGITS_MAX = 32         # longer numbers are no counts
    PLAIN_DIGITS = 17       # as many of any value do not overflow


cdef size_t escaped_end(const char *at, size_t len, bint *is_escaped) noexcept nogil:
    """Search on while a quote is escaped."""
    cdef size_t from_ = 0, back
    cdef const char *quote
    if is_escaped[0] and len:
        is_escaped[0] = 0
        from_ = 1
    cdef size_t floor = from_
    while from_ < len:
        quote = <const char *>memchr(at + from_, c'"', len - from_)
        back = <size_t>(quote - at) if quote != NULL else len
        while back > floor and at[back - 1] == c'\\':
            back -= 1
        # An odd run of backslashes escapes the byte behind it: this quote, or the next to come.
        if quote == NULL:
            is_escaped[0] = (len - back) & 1
            return len
        from_ = <size_t>(quote - at)
        if not (from_ - back) & 1:
            return from_
        from_ += 1
        floor = from_
    return len


cdef int64_t scale(int64_t digits, int shift) noexcept nogil:
    """digits * 10**shift; -1: no whole number, or too large."""
    while shift > 0 and digits <= <int64_t>400000000000000000:
        digits *= 10
        shift -= 1
    while shift < 0 and digits % 10 == 0 and digits:
        digits //= 10
        shift += 1
    return digits if shift == 0 or digits == 0 else -1


cdef int64_t parse_count(const char *at, size_t len) noexcept nogil:
    """Examples: "7", "7.0" and "7e0" are 7."""
    cdef int64_t digits = 0, exponent = 0
    cdef int shift = 0
    cdef bint in_fraction = 0, negative = 0
    cdef size_t k = 0
    if len == 0 or len > DIGITS_MAX or at[0] == c'-':
        return -1
    while k < len and k < PLAIN_DIGITS and c'0' <= at[k] <= c'9':
        digits = digits * 10 + (at[k] - c'0')
        k += 1
    if k == len:
        return digits
    while k < len and at[k] != c'e' and at[k] != c'E':
        if at[k] == c'.':
            in_fraction = 1
        elif digits > <int64_t>400000000000000000 or not c'0' <= at[k] <= c'9':
            return -1
        else:
            digits = digits * 10 + (at[k] - c'0')
            shift -= in_fraction
        k += 1
    if k < len:
        k += 1
        if k < len and (at[k] == c'+' or at[k] == c'-'):
            negative = at[k] == c'-'
            k += 1
        if k == len:
            return -1
        while k < len and c'0' <= at[k] <= c'9' and exponent < 100:
            exponent = exponent * 10 + (at[k] - c'0')
            k += 1
        if k < len:
            return -1
        shift += <int>(-exponent if negative else exponent)
    return scale(digits, shift)
