"""Meaning of the fields of a complete head: framing, hop, host, expectation, upgrade.

Law 1. One length, given once, in one way. Content-Length is one plain number on one line, and
       Transfer-Encoding is exactly `chunked` on one line in HTTP/1.1; never both.
Law 2. A field that Connection names ends at this hop, unless the message could not be framed,
       routed or authorized without it. A request that names such a field is refused; in a response
       the option is ignored.
Law 3. The same head gives the same framing whatever the method: GET and HEAD may have bodies.
       Bytes that one side skips, the other reads as a request.
Tests: tests/unit/test_http1_requests.py, tests/unit/test_http1_responses.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int16_t, uint8_t, uint32_t, uint64_t

from zeroproxy._fast.http1.field_ids_and_values cimport (
    field_id,
    is_authority,
    is_protocol,
    read_number,
    span_is,
)
from zeroproxy._fast.http1.field_lines cimport refuse
from zeroproxy._fast.http1.grammar cimport (
    IS_TOKEN,
    Cursor,
    fold,
    is_all,
    is_same,
    is_word,
    next_element,
)
from zeroproxy._fast.types.http cimport (
    FAULT_CODING,
    FAULT_CODING_UNKNOWN,
    FAULT_CONNECTION,
    FAULT_DUPLICATE,
    FAULT_EXPECT,
    FAULT_FIELD_VALUE,
    FAULT_HOST,
    FAULT_LENGTH,
    FAULT_LENGTH_AND_CODING,
    FAULT_NONE,
    FIELDS_MAX,
    FIELD_API_KEY,
    FIELD_AUTHORIZATION,
    FIELD_CONNECTION,
    FIELD_CONTENT_ENCODING,
    FIELD_CONTENT_LENGTH,
    FIELD_CONTENT_TYPE,
    FIELD_COOKIE,
    FIELD_EXPECT,
    FIELD_HOST,
    FIELD_ID_COUNT,
    FIELD_MAX_FORWARDS,
    FIELD_OTHER,
    FIELD_TRANSFER_ENCODING,
    FIELD_UPGRADE,
    FIELD_X_API_KEY,
    FRAMING_CHUNKED,
    FRAMING_CLOSE,
    FRAMING_LENGTH,
    FRAMING_NONE,
    METHOD_GET,
    METHOD_OPTIONS,
    UPGRADE_IGNORED,
    UPGRADE_NONE,
    UPGRADE_WEBSOCKET,
    VERDICT_OK,
    Fault,
    Field,
    Head,
    Span,
    Upgrade,
    Verdict,
)

cdef enum:
    # Marking costs options x fields comparisons; a head with more options is refused.
    OPTIONS_MAX = 512
    MAX_FORWARDS_MAX = 32767


cdef struct Seen:           # result of one pass over the fields; indices, -1: none
    int16_t[FIELD_ID_COUNT] first
    int16_t[FIELD_ID_COUNT] second
    bint has_close
    bint has_keep_alive
    bint has_upgrade
    uint32_t options
    bint is_request
    bint has_hashes         # of all field names; made when an option names a field
    uint32_t[FIELDS_MAX] hashes


cdef inline Cursor value_of(const Head *head, const Field *f) noexcept nogil:
    return <Cursor>head.base + f.value_at


cdef inline Verdict refuse_field(Head *head, Fault fault, int i) noexcept nogil:
    return refuse(head, fault, <Cursor>head.base, value_of(head, &head.fields[i]))


cdef void look(Head *head, Seen *seen) noexcept nogil:
    cdef int i
    cdef uint8_t k
    for i in range(FIELD_ID_COUNT):
        seen.first[i] = seen.second[i] = -1
    seen.has_close = seen.has_keep_alive = seen.has_upgrade = 0
    seen.options = seen.has_hashes = 0
    for i in range(head.n_fields):
        k = head.fields[i].id
        if k == FIELD_OTHER:
            continue
        head.ids |= <uint64_t>1 << k
        if seen.first[k] < 0:
            seen.first[k] = <int16_t>i
        elif seen.second[k] < 0:
            seen.second[k] = <int16_t>i

# ---------------------------------------------------------------- framing


cdef Fault coding_fault(Cursor p, size_t n) noexcept nogil:
    """501 for one coding that is not implemented; 400 for all but one coding."""
    if is_word(p, n, b"chunked", 7):
        return FAULT_NONE
    return FAULT_CODING_UNKNOWN if n and is_all(p, n, IS_TOKEN) else FAULT_CODING


cdef Verdict judge_framing(Head *head, const Seen *seen) noexcept nogil:
    cdef int length = seen.first[<int>FIELD_CONTENT_LENGTH]
    cdef int coding = seen.first[<int>FIELD_TRANSFER_ENCODING]
    cdef Field *f
    cdef Fault fault
    if coding >= 0:
        f = &head.fields[coding]
        fault = coding_fault(value_of(head, f), f.value_len)
        if head.minor == 0 or seen.second[<int>FIELD_TRANSFER_ENCODING] >= 0:
            fault = FAULT_CODING
        elif length >= 0:
            fault = FAULT_LENGTH_AND_CODING
        if fault != FAULT_NONE:
            return refuse_field(head, fault, coding)
        head.framing = FRAMING_CHUNKED
    elif length >= 0:
        f = &head.fields[length]
        if seen.second[<int>FIELD_CONTENT_LENGTH] >= 0:
            return refuse_field(head, FAULT_LENGTH, seen.second[<int>FIELD_CONTENT_LENGTH])
        if not read_number(value_of(head, f), f.value_len, &head.length):
            return refuse_field(head, FAULT_LENGTH, length)
        head.framing = FRAMING_LENGTH
    return VERDICT_OK


cdef inline bint has_body(const Head *head) noexcept nogil:
    return head.framing == FRAMING_CHUNKED or (head.framing == FRAMING_LENGTH and head.length)

# ---------------------------------------------------------------- Connection


cdef bint is_protected(Span name, uint8_t k) noexcept nogil:
    if k == FIELD_OTHER:
        return span_is(name, b"proxy-authorization", 19)
    return k in (
        FIELD_HOST, FIELD_CONTENT_LENGTH, FIELD_TRANSFER_ENCODING, FIELD_AUTHORIZATION,
        FIELD_X_API_KEY, FIELD_API_KEY, FIELD_CONTENT_TYPE, FIELD_CONTENT_ENCODING, FIELD_EXPECT,
        FIELD_MAX_FORWARDS, FIELD_COOKIE,
    )


cdef uint32_t name_hash(Cursor p, size_t n) noexcept nogil:
    """FNV-1a of a name in lower case: unequal hashes spare most comparisons of names."""
    cdef uint32_t h = 2166136261
    cdef size_t i
    for i in range(n):
        h = (h ^ fold(p[i])) * 16777619
    return h


cdef void hash_names(const Head *head, Seen *seen) noexcept nogil:
    cdef const Field *f
    cdef int i
    seen.has_hashes = 1
    for i in range(head.n_fields):
        f = &head.fields[i]
        seen.hashes[i] = name_hash(<Cursor>head.base + f.name_at, f.name_len)


cdef void nominate(Head *head, Seen *seen, Span name) noexcept nogil:
    cdef uint32_t h = name_hash(<Cursor>name.at, name.len)
    cdef Field *f
    cdef int i
    if not seen.has_hashes:
        hash_names(head, seen)
    for i in range(head.n_fields):
        f = &head.fields[i]
        if (
            seen.hashes[i] == h
            and f.name_len == name.len
            and not f.nominated
            and is_same(<Cursor>head.base + f.name_at, <Cursor>name.at, name.len)
        ):
            f.nominated = 1


cdef bint take_option(Head *head, Seen *seen, Span option) noexcept nogil:
    """Apply one connection option. 0: it is none, or names a field that must not be removed."""
    cdef uint8_t k
    seen.options += 1
    if seen.options > OPTIONS_MAX or not is_all(<Cursor>option.at, option.len, IS_TOKEN):
        return 0
    if span_is(option, b"close", 5):
        seen.has_close = 1
        return 1
    if span_is(option, b"keep-alive", 10):
        seen.has_keep_alive = 1
        return 1
    k = field_id(<Cursor>option.at, option.len)
    if k == FIELD_UPGRADE:
        seen.has_upgrade = 1
        return 1
    if is_protected(option, k):
        return 0
    nominate(head, seen, option)
    return 1


cdef Verdict judge_connection(Head *head, Seen *seen) noexcept nogil:
    cdef int i = seen.first[<int>FIELD_CONNECTION]
    cdef Field *f
    cdef Cursor at
    cdef Cursor end
    cdef Span option
    while 0 <= i < head.n_fields:
        f = &head.fields[i]
        if f.id == FIELD_CONNECTION:
            at = value_of(head, f)
            end = at + f.value_len
            while next_element(&at, end, &option):
                if not take_option(head, seen, option) and seen.is_request:
                    return refuse(
                        head, FAULT_CONNECTION, <Cursor>head.base, <Cursor>option.at
                    )
        i += 1
    head.asks_close = seen.has_close or (head.minor == 0 and not seen.has_keep_alive)
    return VERDICT_OK


cdef Upgrade read_upgrade(const Head *head, bint is_request) noexcept nogil:
    """Read Upgrade. A request may offer others besides websocket. A response names that and nothing
    else: one of the offers (RFC 9110 7.8), and no other is passed on."""
    cdef bint any_other = 0, has_websocket = 0
    cdef const Field *f
    cdef Cursor at
    cdef Cursor end
    cdef Span element
    cdef int i, n_others = 0
    for i in range(head.upgrade_field, head.n_fields):
        f = &head.fields[i]
        if f.id != FIELD_UPGRADE:
            continue
        at = value_of(head, f)
        end = at + f.value_len
        while next_element(&at, end, &element):
            if span_is(element, b"websocket", 9):
                has_websocket = 1
            else:
                n_others += 1
                any_other |= is_protocol(element)
    if has_websocket and (is_request or n_others == 0):
        return UPGRADE_WEBSOCKET
    return UPGRADE_IGNORED if any_other else UPGRADE_NONE


cdef void judge_upgrade(Head *head, const Seen *seen) noexcept nogil:
    """Judge a request for another protocol. By another method than GET (RFC 6455 4.1), or with a
    body, it is served without the upgrade, as RFC 9110 7.8 allows."""
    head.upgrade_field = seen.first[<int>FIELD_UPGRADE]
    if head.upgrade_field < 0 or head.minor == 0 or not seen.has_upgrade:
        return
    head.upgrade = read_upgrade(head, seen.is_request)
    if seen.is_request and head.upgrade and (head.method != METHOD_GET or has_body(head)):
        head.upgrade = UPGRADE_IGNORED

# ---------------------------------------------------------------- requests only


cdef Verdict judge_host(Head *head, const Seen *seen) noexcept nogil:
    """Require exactly one valid Host in HTTP/1.1, at most one in HTTP/1.0 (RFC 9112 3.2). Where an
    absolute-form target names another authority, that one wins and is sent on (3.2.2)."""
    cdef int i = seen.first[<int>FIELD_HOST]
    cdef Field *f
    head.host_field = <int16_t>i
    if i < 0:
        if head.minor == 0:
            return VERDICT_OK
        return refuse(head, FAULT_HOST, <Cursor>head.base, <Cursor>head.base + head.consumed)
    if seen.second[<int>FIELD_HOST] >= 0:
        return refuse_field(head, FAULT_HOST, seen.second[<int>FIELD_HOST])
    f = &head.fields[i]
    if not is_authority(value_of(head, f), f.value_len):
        return refuse_field(head, FAULT_HOST, i)
    return VERDICT_OK


cdef Verdict judge_expect(Head *head, const Seen *seen) noexcept nogil:
    cdef int i = seen.first[<int>FIELD_EXPECT]
    cdef Field *f
    while 0 <= i < head.n_fields:
        f = &head.fields[i]
        if f.id == FIELD_EXPECT:
            if not is_word(value_of(head, f), f.value_len, b"100-continue", 12):
                return refuse_field(head, FAULT_EXPECT, i)
            head.asks_continue = head.minor
        i += 1
    return VERDICT_OK


cdef Verdict judge_singletons(Head *head, const Seen *seen) noexcept nogil:
    """Refuse a second field of a kind that both proxy and endpoint read: they could differ."""
    cdef int i = seen.first[<int>FIELD_MAX_FORWARDS]
    cdef uint64_t hops
    cdef Field *f
    if seen.second[<int>FIELD_AUTHORIZATION] >= 0:
        return refuse_field(head, FAULT_DUPLICATE, seen.second[<int>FIELD_AUTHORIZATION])
    if seen.second[<int>FIELD_X_API_KEY] >= 0:
        return refuse_field(head, FAULT_DUPLICATE, seen.second[<int>FIELD_X_API_KEY])
    if seen.second[<int>FIELD_API_KEY] >= 0:
        return refuse_field(head, FAULT_DUPLICATE, seen.second[<int>FIELD_API_KEY])
    if seen.second[<int>FIELD_CONTENT_TYPE] >= 0 and has_body(head):
        return refuse_field(head, FAULT_DUPLICATE, seen.second[<int>FIELD_CONTENT_TYPE])
    if i < 0 or head.method != METHOD_OPTIONS:
        return VERDICT_OK
    if seen.second[<int>FIELD_MAX_FORWARDS] >= 0:
        return refuse_field(head, FAULT_DUPLICATE, seen.second[<int>FIELD_MAX_FORWARDS])
    f = &head.fields[i]
    if not read_number(value_of(head, f), f.value_len, &hops):
        return refuse_field(head, FAULT_FIELD_VALUE, i)
    head.max_forwards = <int16_t>(hops if hops < MAX_FORWARDS_MAX else MAX_FORWARDS_MAX)
    return VERDICT_OK


cdef Verdict judge_request(Head *head) noexcept nogil:
    """Derive the meaning of a complete request head; head.consumed is set."""
    cdef Seen seen
    cdef Verdict verdict
    seen.is_request = 1
    look(head, &seen)
    head.framing = FRAMING_NONE
    verdict = judge_host(head, &seen)
    if verdict == VERDICT_OK:
        verdict = judge_framing(head, &seen)
    if verdict == VERDICT_OK:
        verdict = judge_connection(head, &seen)
    if verdict == VERDICT_OK:
        verdict = judge_expect(head, &seen)
    if verdict == VERDICT_OK:
        verdict = judge_singletons(head, &seen)
    judge_upgrade(head, &seen)
    return verdict

# ---------------------------------------------------------------- responses only


cdef Verdict judge_response(Head *head, bint to_head) noexcept nogil:
    """Derive the meaning of a complete response head, RFC 9112 6.3. The framing fields of a
    response without a body are held to the same rules. A peer that gets them wrong cannot be
    trusted with the next response on the same conn."""
    cdef Seen seen
    cdef Verdict verdict
    cdef bint interim = head.status < 200
    cdef bint bodyless = interim or head.status == 204
    seen.is_request = 0
    look(head, &seen)
    head.framing = FRAMING_CLOSE
    verdict = judge_framing(head, &seen)
    if verdict != VERDICT_OK:
        return verdict
    if bodyless and head.framing == FRAMING_CHUNKED:
        return refuse_field(head, FAULT_CODING, seen.first[<int>FIELD_TRANSFER_ENCODING])
    if bodyless or to_head or head.status == 304:
        head.framing = FRAMING_NONE
    verdict = judge_connection(head, &seen)
    judge_upgrade(head, &seen)
    return verdict
