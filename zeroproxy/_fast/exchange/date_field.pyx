"""The Date field (RFC 9110 6.6.1), written once a second."""

from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from zeroproxy._fast.types.clock cimport NS_PER_S, clock_wall_ns
from zeroproxy._fast.types.http cimport Span
from zeroproxy._fast.types.plane cimport DATE_LEN, Plane


cdef extern from "<time.h>" nogil:
    struct tm:
        int tm_sec
        int tm_min
        int tm_hour
        int tm_mday
        int tm_mon
        int tm_year
        int tm_wday
    tm *gmtime_r(const time_t *when, tm *out) noexcept

cdef const char *DAYS = b"SunMonTueWedThuFriSat"
cdef const char *MONTHS = b"JanFebMarAprMayJunJulAugSepOctNovDec"


cdef void put_two(char *at, int n) noexcept nogil:
    at[0] = <char>(48 + n // 10 % 10)
    at[1] = <char>(48 + n % 10)


cdef void write_date(char *out, time_t when) noexcept nogil:
    """Unlike strftime it does not depend on the locale."""
    cdef tm t
    gmtime_r(&when, &t)
    memcpy(out, b"Day, 00 Mon 0000 00:00:00 GMT", DATE_LEN)
    memcpy(out, DAYS + 3 * t.tm_wday, 3)
    put_two(out + 5, t.tm_mday)
    memcpy(out + 8, MONTHS + 3 * t.tm_mon, 3)
    put_two(out + 12, (t.tm_year + 1900) // 100)
    put_two(out + 14, t.tm_year % 100)
    put_two(out + 17, t.tm_hour)
    put_two(out + 20, t.tm_min)
    put_two(out + 23, t.tm_sec)


cdef Span date_now(Plane *p) noexcept nogil:
    cdef uint64_t wall
    cdef Span s
    if p.now_ns >= p.date_ns:
        wall = clock_wall_ns()
        write_date(p.date, <time_t>(wall // NS_PER_S))
        p.date_ns = p.now_ns + NS_PER_S - wall % NS_PER_S
    s.at = p.date
    s.len = DATE_LEN
    return s
