"""Names and values: ids of fields and methods, and the grammars of single values that the proxy
itself reads.

Law 1. Field names are found through one hash of length, first and last letter. The slots are
       filled at import, where two names in one slot are an error; a lookup compares one name.
       So a name with "_" for "-" is found in the slot of the one it stands for.
Law 2. Values that RFC 9110 permits and no honest peer sends are refused. In a host those are
       sub-delims, empty labels and ports above 65535; elsewhere numbers above 2^63 - 1.
Law 3. Nothing here depends on the field that a value came from: see semantics.
Tests: tests/unit/test_http1_requests.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, strlen

from zeroproxy._fast.http1.grammar cimport (
    CLASS,
    IS_DIGIT,
    IS_HEX,
    IS_HOST,
    IS_LOWHEX,
    IS_TARGET,
    IS_TOKEN,
    Cursor,
    begins_with,
    fold,
    is_all,
    is_word,
    skip_blank,
    skip_class,
    skip_value,
)
from zeroproxy._fast.types.http cimport (
    FIELD_ALIAS,
    FIELD_ID_COUNT,
    FIELD_OTHER,
    FIELD_SDK_READ_TIMEOUT,
    FIELD_SDK_RETRY_COUNT,
    FIELD_SDK_TIMEOUT,
    FIELD_X_FORWARDED,
    METHOD_OTHER,
    METHOD_PATCH,
    Span,
)

cdef extern from "arpa/inet.h" nogil:
    int AF_INET
    int AF_INET6
    int inet_pton(int af, const char *src, void *dst)

cdef enum:
    SLOTS = 128
    IPV6_TEXT_MAX = 45
    PORT_MAX = 65535
    FAMILY = 11             # bytes of "x-forwarded"

ctypedef const char *Word

# In the order of types.http.FieldId.
cdef Word[FIELD_ID_COUNT] NAMES = [
    b"", b"host", b"connection", b"content-length", b"transfer-encoding", b"te", b"trailer",
    b"upgrade", b"keep-alive", b"proxy-connection", b"http2-settings", b"expect",
    b"max-forwards", b"via", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host",
    b"x-request-id", b"traceparent", b"authorization", b"x-api-key", b"api-key",
    b"content-type", b"content-encoding", b"accept-encoding", b"date", b"server", b"retry-after",
    b"cookie", b"forwarded", b"x-real-ip", b"", b"", b"", b"", b"",
]
cdef uint8_t[FIELD_ID_COUNT] NAME_LENS
cdef uint8_t[SLOTS] SLOT_IDS

# In the order of types.http.Method; names of methods are case-sensitive.
cdef Word[8] METHODS = [
    b"", b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH",
]
cdef uint8_t[8] METHOD_LENS


cdef inline uint32_t slot_of(Cursor name, size_t n) noexcept nogil:
    return <uint32_t>(n + fold(name[0]) * 122 + fold(name[n - 1]) * 111) & (SLOTS - 1)


cdef int fill_slots() except -1:
    cdef int k
    cdef uint32_t slot
    for k in range(1, FIELD_ID_COUNT):
        NAME_LENS[k] = <uint8_t>strlen(NAMES[k])
        if NAME_LENS[k] == 0:
            continue
        slot = slot_of(<Cursor>NAMES[k], NAME_LENS[k])
        if SLOT_IDS[slot]:
            raise RuntimeError(f"{NAMES[k]!r} and {NAMES[SLOT_IDS[slot]]!r} share a slot")
        SLOT_IDS[slot] = k
    for k in range(1, METHOD_PATCH + 1):
        METHOD_LENS[k] = <uint8_t>strlen(METHODS[k])
    return 0


fill_slots()


cdef bint is_alias(Cursor name, const char *word, size_t n) noexcept nogil:
    """True if `name` is `word` once each "_" is a "-"; there are n bytes at both."""
    cdef size_t k
    for k in range(n):
        if fold(name[k]) != <unsigned char>word[k] and not (name[k] == c'_' and word[k] == c'-'):
            return 0
    return 1


cdef uint8_t family_id(Cursor name, size_t n) noexcept nogil:
    """FieldId of X-Forwarded and X-Forwarded-*."""
    if not is_alias(name, b"x-forwarded", FAMILY):
        return FIELD_OTHER
    if n > FAMILY and name[FAMILY] != c'-' and name[FAMILY] != c'_':
        return FIELD_OTHER
    if name[1] == c'_' or (n > FAMILY and name[FAMILY] == c'_'):
        return FIELD_ALIAS
    return FIELD_X_FORWARDED


cdef uint8_t sdk_id(Cursor name, size_t n) noexcept nogil:
    """FieldId of the fields by which official SDKs name their retry and their patience."""
    if n == 23 and begins_with(name, b"x-stainless-retry-count", n):
        return FIELD_SDK_RETRY_COUNT
    if n == 24 and begins_with(name, b"x-stainless-read-timeout", n):
        return FIELD_SDK_READ_TIMEOUT
    if n == 19 and begins_with(name, b"x-stainless-timeout", n):
        return FIELD_SDK_TIMEOUT
    return FIELD_OTHER


cdef uint8_t field_id(Cursor name, size_t n) noexcept nogil:
    """FieldId of a name of n > 0 bytes in any case; FIELD_OTHER: any other."""
    cdef uint8_t k = SLOT_IDS[slot_of(name, n)]
    if k and n == NAME_LENS[k]:
        if begins_with(name, NAMES[k], n):
            return k
        if is_alias(name, NAMES[k], n):
            return FIELD_ALIAS
    if n < FAMILY or fold(name[0]) != c'x':
        return FIELD_OTHER
    if fold(name[2]) == c'f':
        return family_id(name, n)
    return sdk_id(name, n) if fold(name[2]) == c's' else <uint8_t>FIELD_OTHER


cdef uint8_t method_id(Cursor name, size_t n) noexcept nogil:
    cdef uint8_t k
    for k in range(1, METHOD_PATCH + 1):
        if METHOD_LENS[k] == n and memcmp(METHODS[k], name, n) == 0:
            return k
    return METHOD_OTHER


cdef bint is_refused_method(Cursor name, size_t n) noexcept nogil:
    """True for CONNECT and TRACE: no tunnel is offered, and an echo leaks credentials."""
    if n == 5:
        return memcmp(name, b"TRACE", 5) == 0
    return n == 7 and memcmp(name, b"CONNECT", 7) == 0


cdef bint read_number(Cursor p, size_t n, uint64_t *value) noexcept nogil:
    """Read 1*DIGIT, at most 2^63 - 1. Leading zeros are legal and lost: the number is sent anew."""
    cdef uint64_t v = 0
    cdef uint64_t most = <uint64_t>-1 >> 1
    cdef size_t i
    cdef uint64_t digit
    for i in range(n):
        if not CLASS[p[i]] & IS_DIGIT:
            return 0
        digit = p[i] - 48
        if v > (most - digit) // 10:
            return 0
        v = v * 10 + digit
    value[0] = v
    return n != 0


cdef bint is_ipv6(Cursor p, size_t n) noexcept nogil:
    cdef char[IPV6_TEXT_MAX + 1] text
    cdef unsigned char[16] address
    if n > IPV6_TEXT_MAX or memchr(p, 0, n) != NULL:
        return 0
    memcpy(text, p, n)
    text[n] = 0
    return inet_pton(AF_INET6, text, address) == 1


cdef bint is_ip(Cursor p, size_t n) noexcept nogil:
    cdef char[IPV6_TEXT_MAX + 1] text
    cdef unsigned char[4] address
    if n > IPV6_TEXT_MAX or memchr(p, 0, n) != NULL:
        return 0
    memcpy(text, p, n)
    text[n] = 0
    return inet_pton(AF_INET, text, address) == 1 or is_ipv6(p, n)


cdef bint is_ip_future(Cursor p, size_t n) noexcept nogil:
    """"v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" ), RFC 3986 3.2.2."""
    cdef Cursor end = p + n
    cdef Cursor dot
    cdef Cursor rest
    dot = skip_class(p + 1, end, IS_HEX)
    if dot == p + 1 or dot == end or dot[0] != 46 or dot + 1 == end:
        return 0
    rest = dot + 1
    while rest < end:
        if not CLASS[rest[0]] & IS_TARGET or rest[0] == 47 or rest[0] == 63 or rest[0] == 64:
            return 0
        rest += 1
    return 1


cdef bint is_port(Cursor p, Cursor end) noexcept nogil:
    """True for the part behind a host: nothing, ":", or ":" and a number up to 65535."""
    cdef uint64_t port
    if p == end:
        return 1
    if p[0] != 58:
        return 0
    return p + 1 == end or (read_number(p + 1, end - p - 1, &port) and port <= PORT_MAX)


cdef bint is_authority(Cursor p, size_t n) noexcept nogil:
    """uri-host [ ":" port ]: the value of Host, and the authority of an absolute-form target."""
    cdef Cursor end = p + n
    cdef Cursor at = p
    cdef Cursor close
    if n and p[0] == 91:
        close = <Cursor>memchr(p, 93, n)
        if close == NULL or close == p + 1:
            return 0
        if fold(p[1]) == 118:
            return is_ip_future(p + 1, close - p - 1) and is_port(close + 1, end)
        return is_ipv6(p + 1, close - p - 1) and is_port(close + 1, end)
    while at < end:
        if at[0] == 46 and (at == p or (at - 1)[0] == 46):
            return 0
        if CLASS[at[0]] & IS_HOST:
            at += 1
        elif at[0] == 37 and end - at >= 3 and is_all(at + 1, 2, IS_HEX):
            at += 3
        else:
            break
    return at != p and is_port(at, end)


cdef Cursor skip_quoted(Cursor p, Cursor end) noexcept nogil:
    """Behind a quoted string (RFC 9110 5.6.4) that begins at `p`; NULL: it is never closed."""
    cdef Cursor at = p + 1
    while at < end and at[0] != 34:
        if at[0] == 92:
            at += 1
        at += 1
    return at + 1 if at < end else NULL


cdef bint is_forwarded(Cursor p, size_t n) noexcept nogil:
    """[ element ] *( OWS "," OWS [ element ] ), element = [ pair ] *( ";" [ pair ] ), RFC 7239 4.
    Blanks may stand around "," alone."""
    cdef Cursor end = p + n
    cdef Cursor at = p
    cdef Cursor name
    if skip_value(p, end) != end:
        return 0
    while at < end:
        name = at
        at = skip_class(at, end, IS_TOKEN)
        if at != name:
            if at == end or at[0] != 61:
                return 0
            name = at + 1
            at = skip_quoted(name, end) if name < end and name[0] == 34 \
                else skip_class(name, end, IS_TOKEN)
            if at == NULL or at == name:
                return 0
        if at < end and at[0] == 59:
            at += 1
            continue
        at = skip_blank(at, end)
        if at < end and at[0] != 44:
            return 0
        at = skip_blank(at + 1, end) if at < end else at
    return 1


cdef bint is_protocol(Span element) noexcept nogil:
    """A member of Upgrade that goes on: token [ "/" token ], never h2c (RFC 9113 3.1)."""
    cdef Cursor p = <Cursor>element.at
    cdef Cursor end = p + element.len
    cdef Cursor slash = skip_class(p, end, IS_TOKEN)
    if slash == p or is_word(p, slash - p, b"h2c", 3):
        return 0
    if slash == end:
        return 1
    return slash[0] == 47 and slash + 1 < end and is_all(slash + 1, end - slash - 1, IS_TOKEN)


cdef bint is_zero(Cursor p, size_t n) noexcept nogil:
    cdef size_t i
    for i in range(n):
        if p[i] != 48:
            return 0
    return 1


cdef bint is_traceparent(Cursor p, size_t n) noexcept nogil:
    """version "-" trace-id "-" parent-id "-" flags, W3C Trace Context 3.2.2. A later version may
    carry more behind another dash."""
    if n < 55 or p[2] != 45 or p[35] != 45 or p[52] != 45:
        return 0
    if not (is_all(p, 2, IS_LOWHEX) and is_all(p + 3, 32, IS_LOWHEX)):
        return 0
    if not (is_all(p + 36, 16, IS_LOWHEX) and is_all(p + 53, 2, IS_LOWHEX)):
        return 0
    if is_zero(p + 3, 32) or is_zero(p + 36, 16) or memcmp(p, b"ff", 2) == 0:
        return 0
    return n == 55 or (not is_zero(p, 2) and p[55] == 45 and n <= 128)


cdef bint is_media_type(const char *at, size_t len, const char *kind, size_t n) noexcept nogil:
    return len >= n and begins_with(<Cursor>at, kind, n) and (
        len == n or at[n] == c';' or at[n] == c' ' or at[n] == c'\t'
    )
