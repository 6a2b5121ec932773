"""The field section of a head: lines in, an array of Field out.

Law 1. A line is name ":" OWS value OWS CRLF. Anything else is refused; no line is dropped, unfolded
       or repaired. RFC 9112 2.2 and 5 allow either for most of it. A line that one recipient
       repairs and the next one does not is how requests are smuggled.
Law 2. A bad field is refused at its first wrong byte, so the verdict is the same however the bytes
       were split.
Law 3. A kept value holds no CR, LF, NUL or other control but HTAB. So names and values copied
       between CRLFs cannot make a line that was not there.
Tests: tests/unit/test_http1_requests.py, tests/unit/test_http1_differential.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint16_t, uint32_t

from zeroproxy._fast.http1.field_ids_and_values cimport field_id, is_traceparent
from zeroproxy._fast.http1.grammar cimport (
    CR,
    HTAB,
    IS_VISIBLE,
    LF,
    SP,
    Cursor,
    is_all,
    skip_blank,
    skip_token,
    skip_value,
)
from zeroproxy._fast.types.http cimport (
    FAULT_FIELD_FOLDED,
    FAULT_FIELD_NAME,
    FAULT_FIELD_VALUE,
    FAULT_LINE_END,
    FAULT_TOO_MANY_FIELDS,
    FIELD_TRACEPARENT,
    FIELD_X_REQUEST_ID,
    VERDICT_MORE,
    VERDICT_OK,
    Fault,
    Field,
    Head,
    Span,
    Verdict,
)

cdef enum:
    REQUEST_ID_MAX = 128


cdef Fault name_fault(Cursor first, Cursor at) noexcept nogil:
    if at[0] == LF:
        return FAULT_LINE_END
    if at == first and (at[0] == SP or at[0] == HTAB):
        return FAULT_FIELD_FOLDED
    return FAULT_FIELD_NAME


cdef Verdict parse_field(Scan *s, Head *head, Field *field) noexcept nogil:
    cdef Cursor end = s.end
    cdef Cursor name = s.at
    cdef Cursor value
    cdef Cursor at = skip_token(name, end)
    cdef size_t name_len = at - name
    if at == end:
        return VERDICT_MORE
    if at[0] != 58 or name_len == 0:
        return refuse(head, name_fault(name, at), s.base, at)
    value = skip_blank(at + 1, end)
    at = skip_value(value, end)
    if at == end:
        return VERDICT_MORE
    if at[0] != CR:
        return refuse(head, FAULT_LINE_END if at[0] == LF else FAULT_FIELD_VALUE, s.base, at)
    if at + 1 == end:
        return VERDICT_MORE
    if at[1] != LF:
        return refuse(head, FAULT_LINE_END, s.base, at + 1)
    s.at = at + 2
    while at > value and ((at - 1)[0] == SP or (at - 1)[0] == HTAB):
        at -= 1
    field.name_at = <uint32_t>(name - s.base)
    field.name_len = <uint16_t>name_len
    field.value_at = <uint32_t>(value - s.base)
    field.value_len = <uint16_t>(at - value)
    field.id = field_id(name, name_len)
    field.nominated = 0
    return VERDICT_OK


cdef Verdict parse_fields(Scan *s, Head *head, uint32_t most) noexcept nogil:
    """Read field lines up to and including the empty line. On OK s.at is behind it."""
    cdef Verdict verdict
    while s.at < s.end:
        if s.at[0] == CR:
            if s.at + 1 == s.end:
                return VERDICT_MORE
            if s.at[1] != LF:
                return refuse(head, FAULT_LINE_END, s.base, s.at + 1)
            s.at += 2
            return VERDICT_OK
        if head.n_fields == most:
            return refuse(head, FAULT_TOO_MANY_FIELDS, s.base, s.at)
        verdict = parse_field(s, head, &head.fields[head.n_fields])
        if verdict != VERDICT_OK:
            return verdict
        head.n_fields += 1
    return VERDICT_MORE


cdef void nominate_all(Head *h, int id) noexcept nogil:
    cdef int i
    for i in range(h.n_fields):
        if h.fields[i].id == id:
            h.fields[i].nominated = 1

# ---------------------------------------------------------------- ids


cdef Span find_request_id(const Head *h) noexcept nogil:
    """The first X-Request-Id of 1 to 128 visible ASCII characters; len 0: none."""
    cdef Span s = span_at(h, 0, 0)
    cdef const Field *f
    cdef int i
    if not has_field(h, FIELD_X_REQUEST_ID):
        return s
    for i in range(h.n_fields):
        f = &h.fields[i]
        if f.id == FIELD_X_REQUEST_ID and not f.nominated and 0 < f.value_len <= REQUEST_ID_MAX:
            s = value_span(h, f)
            if is_all(<Cursor>s.at, s.len, IS_VISIBLE):
                return s
    s.len = 0
    return s


cdef Span find_traceparent(const Head *h) noexcept nogil:
    """A valid traceparent; len 0: none, or more than one (W3C Trace Context 4.3: not trusted)."""
    cdef Span s = span_at(h, 0, 0)
    cdef const Field *f
    cdef int i
    if not has_field(h, FIELD_TRACEPARENT):
        return s
    for i in range(h.n_fields):
        f = &h.fields[i]
        if f.id != FIELD_TRACEPARENT or f.nominated:
            continue
        if s.len:
            s.len = 0
            return s
        s = value_span(h, f)
    if s.len and not is_traceparent(<Cursor>s.at, s.len):
        s.len = 0
    return s
