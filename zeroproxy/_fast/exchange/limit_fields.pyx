"""Fields of an answer that show what is left of the quotas of the caller's key.

Law 1. The names are those that the clients of the dialect read: `anthropic-ratelimit-…` on
       Anthropic's paths, `x-ratelimit-…` on all others. A quota that is not set has no field.
Law 2. The remainder is that of now, without this request and without reserved tokens. It is no
       promise. The reset is the time at which the bucket would be full.
Tests: tests/relay/test_limit_fields.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, strlen
from posix.types cimport time_t

from zeroproxy._fast.exchange.error_body cimport DIALECT_ANTHROPIC
from zeroproxy._fast.http1.grammar cimport Cursor, is_word
from zeroproxy._fast.tenants.keys_and_quotas cimport quota_fill
from zeroproxy._fast.types.clock cimport NS_PER_S, clock_wall_ns
from zeroproxy._fast.types.http cimport FIELD_OTHER, Field, Head
from zeroproxy._fast.types.key_and_quota cimport QUOTA_REQUESTS, QUOTA_TOKENS, Quota
from zeroproxy._fast.types.plane cimport Plane, Relay

cdef extern from "<time.h>" nogil:
    struct tm:
        int tm_sec
        int tm_min
        int tm_hour
        int tm_mday
        int tm_mon
        int tm_year
    tm *gmtime_r(const time_t *when, tm *out) noexcept

cdef enum:
    FULL_MOST = 86400 * 31  # seconds until a bucket is full, as shown

# Limit, remaining, reset: of requests, then of tokens; OpenAI's names, then Anthropic's.
cdef const char* NAMES[12]
NAMES[:] = [
    b"x-ratelimit-limit-requests: ", b"\r\nx-ratelimit-remaining-requests: ",
    b"\r\nx-ratelimit-reset-requests: ",
    b"x-ratelimit-limit-tokens: ", b"\r\nx-ratelimit-remaining-tokens: ",
    b"\r\nx-ratelimit-reset-tokens: ",
    b"anthropic-ratelimit-requests-limit: ", b"\r\nanthropic-ratelimit-requests-remaining: ",
    b"\r\nanthropic-ratelimit-requests-reset: ",
    b"anthropic-ratelimit-tokens-limit: ", b"\r\nanthropic-ratelimit-tokens-remaining: ",
    b"\r\nanthropic-ratelimit-tokens-reset: ",
]


cdef inline char *put_text(char *at, const char *text) noexcept nogil:
    cdef size_t n = strlen(text)
    memcpy(at, text, n)
    return at + n


cdef char *put_count(char *at, uint64_t n) noexcept nogil:
    cdef char[20] digits
    cdef int i = 20
    while 1:
        i -= 1
        digits[i] = <char>(48 + n % 10)
        n //= 10
        if n == 0:
            break
    memcpy(at, &digits[i], 20 - i)
    return at + 20 - i


cdef inline char *put_two(char *at, int n, char behind) noexcept nogil:
    at[0] = <char>(48 + n // 10 % 10)
    at[1] = <char>(48 + n % 10)
    at[2] = behind
    return at + 3


cdef char *put_duration(char *at, double seconds) noexcept nogil:
    """As OpenAI writes it: 12ms, 6m0s."""
    cdef uint64_t n
    if 0 < seconds < 1:
        return put_text(put_count(at, <uint64_t>(seconds * 1000) + 1), b"ms")
    n = <uint64_t>seconds
    n += seconds > n
    if n >= 3600:
        at = put_text(put_count(at, n // 3600), b"h")
    if n >= 60:
        at = put_text(put_count(at, n // 60 % 60), b"m")
    return put_text(put_count(at, n % 60), b"s")


cdef char *put_time(char *at, double seconds) noexcept nogil:
    """RFC 3339, in UTC, a whole second."""
    cdef tm t
    cdef time_t when = <time_t>((clock_wall_ns() + <uint64_t>(seconds * NS_PER_S)) // NS_PER_S) + 1
    gmtime_r(&when, &t)
    at = put_two(at, (t.tm_year + 1900) // 100, 0) - 1
    at = put_two(at, t.tm_year % 100, c'-')
    at = put_two(at, t.tm_mon + 1, c'-')
    at = put_two(at, t.tm_mday, c'T')
    at = put_two(at, t.tm_hour, c':')
    at = put_two(at, t.tm_min, c':')
    return put_two(at, t.tm_sec, c'Z')


cdef char *put_quota(Plane *p, const Relay *r, int which, char *at) noexcept nogil:
    cdef Quota *q = &r.x.key.quotas[which]
    cdef bint is_anthropic = r.x.dialect == DIALECT_ANTHROPIC
    cdef int name = 3 * which + 6 * is_anthropic
    cdef double left, seconds
    if q.rate == 0:
        return at
    quota_fill(q, p.now_ns)
    left = q.level - q.reserved
    seconds = (q.cap - left) * 60 / q.speed if q.speed > 0 and left < q.cap else 0
    if q.speed <= 0 or seconds > FULL_MOST:
        seconds = FULL_MOST
    at = put_count(put_text(at, NAMES[name]), <uint64_t>q.rate)
    at = put_count(put_text(at, NAMES[name + 1]), <uint64_t>left if left > 0 else 0)
    at = put_text(at, NAMES[name + 2])
    at = put_time(at, seconds) if is_anthropic else put_duration(at, seconds)
    return put_text(at, b"\r\n")


cdef void drop_limit_fields(Head *h) noexcept nogil:
    """Those of a server are about another quota."""
    cdef Field *f
    cdef int i
    for i in range(h.n_fields):
        f = &h.fields[i]
        if f.id == FIELD_OTHER and (
            (f.name_len >= 12 and is_word(<Cursor>h.base + f.name_at, 12, b"x-ratelimit-", 12))
            or (
                f.name_len >= 20
                and is_word(<Cursor>h.base + f.name_at, 20, b"anthropic-ratelimit-", 20)
            )
        ):
            f.nominated = 1


cdef size_t write_limit_fields(Plane *p, const Relay *r, Head *h, char *out) noexcept nogil:
    cdef char *at = out
    if not p.keys.shows_limits or r.x.key == NULL or (h != NULL and h.status < 200):
        return 0
    at = put_quota(p, r, QUOTA_REQUESTS, at)
    at = put_quota(p, r, QUOTA_TOKENS, at)
    if h != NULL and at != out:
        drop_limit_fields(h)
    return <size_t>(at - out)
