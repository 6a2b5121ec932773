"""The first line of a head: request line or status line.

Law 1. Exactly one space between the parts, `HTTP/1.` in capitals, CRLF at the end. A target is
       passed on byte for byte or refused, never repaired. A path is held to RFC 3986; a query may
       hold any byte but controls, blanks and "#".
Law 2. Each part ends at its first byte that cannot belong to it. So the verdict does not depend on
       how the bytes were split, and garbage is refused before a line end is seen.
Tests: tests/unit/test_http1_requests.py, tests/unit/test_http1_responses.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memchr

from zeroproxy._fast.http1.field_ids_and_values cimport is_authority, is_refused_method, method_id
from zeroproxy._fast.http1.field_lines cimport Scan, refuse
from zeroproxy._fast.http1.grammar cimport (
    CLASS,
    CR,
    HTAB,
    IS_DIGIT,
    IS_HEX,
    IS_TARGET,
    IS_TOKEN,
    IS_VALUE,
    IS_VISIBLE,
    LF,
    SP,
    Cursor,
    fold,
    skip_class,
    skip_value,
)
from zeroproxy._fast.types.http cimport (
    FAULT_HOST,
    FAULT_LINE_END,
    FAULT_METHOD,
    FAULT_METHOD_REFUSED,
    FAULT_REQUEST_LINE,
    FAULT_STATUS_LINE,
    FAULT_TARGET,
    FAULT_VERSION,
    METHOD_OPTIONS,
    VERDICT_BAD,
    VERDICT_MORE,
    VERDICT_OK,
    Fault,
    Head,
    Verdict,
)


cdef inline Verdict fail(Scan *s, Head *head, Fault fault, Cursor at) noexcept nogil:
    return refuse(head, fault, s.base, at)


cdef Verdict match_word(Scan *s, const char *word, size_t n) noexcept nogil:
    """Move s.at behind the bytes that match `word` in any case. BAD: it is at one that does not."""
    cdef size_t i
    for i in range(n):
        if s.at == s.end:
            return VERDICT_MORE
        if fold(s.at[0]) != <unsigned char>word[i]:
            return VERDICT_BAD
        s.at += 1
    return VERDICT_OK


cdef Verdict parse_version(Scan *s, Head *head, Fault fault) noexcept nogil:
    """Read `HTTP/1.` DIGIT, upper case only."""
    cdef const char *word = b"HTTP/1."
    cdef int i
    for i in range(7):
        if s.at == s.end:
            return VERDICT_MORE
        if s.at[0] != <unsigned char>word[i]:
            if i == 5 and CLASS[s.at[0]] & IS_DIGIT:
                fault = FAULT_VERSION
            return fail(s, head, fault, s.at)
        s.at += 1
    if s.at == s.end:
        return VERDICT_MORE
    if not CLASS[s.at[0]] & IS_DIGIT:
        return fail(s, head, fault, s.at)
    head.minor = s.at[0] != 48
    s.at += 1
    return VERDICT_OK


cdef Verdict parse_line_end(Scan *s, Head *head, Fault fault) noexcept nogil:
    if s.at == s.end:
        return VERDICT_MORE
    if s.at[0] != CR:
        return fail(s, head, FAULT_LINE_END if s.at[0] == LF else fault, s.at)
    if s.at + 1 == s.end:
        return VERDICT_MORE
    if s.at[1] != LF:
        return fail(s, head, FAULT_LINE_END, s.at + 1)
    s.at += 2
    return VERDICT_OK


cdef Cursor skip_query(Cursor p, Cursor end) noexcept nogil:
    """End of a query. Browsers and curl send all visible bytes but "#" as they are, and bytes above
    ASCII; nginx passes both on."""
    while p < end and CLASS[p[0]] & IS_VALUE and p[0] != SP and p[0] != HTAB and p[0] != 35:
        p += 1
    return p


cdef Cursor skip_target(Cursor first, Cursor end) noexcept nogil:
    """End of the path and query. `end`: more may follow. In the path "%" needs two hex digits."""
    cdef Cursor p = first
    while 1:
        p = skip_class(p, end, IS_TARGET)
        if p == end or p[0] == SP:
            return p
        if memchr(first, 63, p - first) != NULL:
            return skip_query(p, end)
        first = p
        if p[0] != 37:
            return p
        if p + 1 == end or (p + 2 == end and CLASS[p[1]] & IS_HEX):
            return end
        if not CLASS[p[1]] & IS_HEX or not CLASS[p[2]] & IS_HEX:
            return p
        p += 3


cdef Verdict parse_path(Scan *s, Head *head) noexcept nogil:
    """Read path and query up to the space behind them; s.at moves behind that space."""
    cdef Cursor first = s.at
    cdef Cursor at = skip_target(first, s.end)
    if at == s.end:
        return VERDICT_MORE
    if at[0] != SP:
        return fail(s, head, FAULT_LINE_END if at[0] == LF else FAULT_TARGET, at)
    head.target_at = <uint32_t>(first - s.base)
    head.target_len = <uint16_t>(at - first)
    s.at = at + 1
    return VERDICT_OK


cdef Verdict parse_absolute(Scan *s, Head *head) noexcept nogil:
    """Read http(s)://authority [path]. User information is refused: a phishing aid in a URL and
    credentials in a log. An empty path stays empty here and is written by head_writer."""
    cdef Cursor first
    cdef Cursor at
    cdef Verdict verdict = match_word(s, b"http", 4)
    if verdict == VERDICT_OK and s.at < s.end and fold(s.at[0]) == 115:
        s.at += 1
    if verdict == VERDICT_OK:
        verdict = match_word(s, b"://", 3)
    if verdict != VERDICT_OK:
        return fail(s, head, FAULT_TARGET, s.at) if verdict == VERDICT_BAD else verdict
    first = at = s.at
    while at < s.end and CLASS[at[0]] & IS_VISIBLE and at[0] != 47 and at[0] != 63:
        if at[0] == 64:
            return fail(s, head, FAULT_TARGET, at)
        at += 1
    if at == s.end:
        return VERDICT_MORE
    if at[0] != SP and at[0] != 47 and at[0] != 63:
        return fail(s, head, FAULT_TARGET, at)
    if not is_authority(first, at - first):
        return fail(s, head, FAULT_HOST, first)
    head.authority_at = <uint32_t>(first - s.base)
    head.authority_len = <uint16_t>(at - first)
    head.path_only_query = at[0] == 63
    s.at = at
    return parse_path(s, head)


cdef Verdict parse_target(Scan *s, Head *head) noexcept nogil:
    if s.at == s.end:
        return VERDICT_MORE
    if s.at[0] == 47:
        return parse_path(s, head)
    if s.at[0] != 42:
        return parse_absolute(s, head)
    if head.method != METHOD_OPTIONS:
        return fail(s, head, FAULT_TARGET, s.at)
    if s.at + 1 == s.end:
        return VERDICT_MORE
    if s.at[1] != SP:
        return fail(s, head, FAULT_TARGET, s.at + 1)
    return parse_path(s, head)


cdef Verdict parse_method(Scan *s, Head *head) noexcept nogil:
    cdef Cursor first = s.at
    cdef Cursor at = skip_class(first, s.end, IS_TOKEN)
    cdef size_t n = at - first
    if at == s.end:
        return VERDICT_MORE
    if n == 0:
        return fail(s, head, FAULT_LINE_END if at[0] == LF else FAULT_METHOD, at)
    if at[0] != SP:
        return fail(s, head, FAULT_REQUEST_LINE, at)
    if is_refused_method(first, n):
        return fail(s, head, FAULT_METHOD_REFUSED, first)
    head.method_at = <uint32_t>(first - s.base)
    head.method_len = <uint16_t>n
    head.method = method_id(first, n)
    s.at = at + 1
    return VERDICT_OK


cdef Verdict parse_request_line(Scan *s, Head *head) noexcept nogil:
    cdef Verdict verdict = parse_method(s, head)
    if verdict == VERDICT_OK:
        verdict = parse_target(s, head)
    if verdict == VERDICT_OK:
        verdict = parse_version(s, head, FAULT_REQUEST_LINE)
    if verdict == VERDICT_OK:
        verdict = parse_line_end(s, head, FAULT_REQUEST_LINE)
    return verdict


cdef Verdict parse_status(Scan *s, Head *head) noexcept nogil:
    """Read SP 3DIGIT [ SP reason ], the status from 100 to 599."""
    cdef int i
    cdef Cursor reason
    for i in range(4):
        if s.at == s.end:
            return VERDICT_MORE
        if s.at[0] != SP if i == 0 else not CLASS[s.at[0]] & IS_DIGIT:
            return fail(s, head, FAULT_STATUS_LINE, s.at)
        if i:
            head.status = head.status * 10 + (s.at[0] - 48)
        if i == 1 and not 1 <= head.status <= 5:
            return fail(s, head, FAULT_STATUS_LINE, s.at)
        s.at += 1
    if s.at < s.end and s.at[0] == SP:
        reason = s.at + 1
        s.at = skip_value(reason, s.end)
        head.reason_at = <uint32_t>(reason - s.base)
        head.reason_len = <uint16_t>(s.at - reason)
    return VERDICT_OK


cdef Verdict parse_status_line(Scan *s, Head *head) noexcept nogil:
    cdef Verdict verdict = parse_version(s, head, FAULT_STATUS_LINE)
    if verdict == VERDICT_OK:
        verdict = parse_status(s, head)
    if verdict == VERDICT_OK:
        verdict = parse_line_end(s, head, FAULT_STATUS_LINE)
    return verdict
