"""Request bodies on their way upstream: scanned in passing, and edited.

Law 1. Edits wait for no more of a body than the first byte, which tells if it is JSON. A length
       that is announced early leaves space for the longest edits; blanks fill what is left.
Law 2. Usage is requested only if the edit can be undone (the request is still held), or the
       endpoint is known to take it. A request that was refused with an edit is sent once more
       without. If that succeeds, the endpoint gets no such edits again.
Law 3. A signed body gets the server's name of the model and no other edit; a coded one is not read.
Tests: tests/relay/test_editing.py, tests/relay/test_refusals.py.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int16_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from zeroproxy._fast.exchange.actions cimport feed, send_up
from zeroproxy._fast.exchange.path_kinds cimport ends_with
from zeroproxy._fast.exchange.replay cimport undo_edits
from zeroproxy._fast.exchange.response_usage cimport meter_upgrade
from zeroproxy._fast.http1.body cimport LAST_CHUNK, frame_chunk, frame_last, last_chunk
from zeroproxy._fast.http1.field_lines cimport nominate
from zeroproxy._fast.jsonscan.edits cimport (
    EDITED_USAGE,
    USAGE_REQUEST_FINAL,
    USAGE_REQUEST_NONE,
    USAGE_REQUEST_RUNNING_ONLY,
    USAGE_REQUEST_TIMINGS,
    Edit,
    edit_bytes_max,
    edit_due,
    edit_growth,
    unrequested_running_usage,
)
from zeroproxy._fast.jsonscan.request_scan cimport (
    request_scan_begin,
    request_scan_feed,
    request_scan_form,
    request_scan_rename,
)
from zeroproxy._fast.jsonscan.terms_edits cimport TERMS_BYTES_MAX
from zeroproxy._fast.memory.buffer cimport buffer_len
from zeroproxy._fast.request.authorization cimport is_model_restricted, judge_body
from zeroproxy._fast.request.body_terms cimport (
    begin_terms,
    hold_digits,
    is_held_number_open,
    judge_terms,
    lower_bounds,
)
from zeroproxy._fast.request.digests cimport drop_digests, is_signed
from zeroproxy._fast.request.form_guard cimport watch_begin, watch_feed
from zeroproxy._fast.request.query cimport query_model
from zeroproxy._fast.request.routing cimport BODY_FORM, BODY_JSON, BodyStart, Target
from zeroproxy._fast.request.surface cimport has_refused_member
from zeroproxy._fast.types.exchange_enums cimport IN_LOST_MAY_RETRY
from zeroproxy._fast.types.http cimport (
    FAULT_BODY_CODE,
    FAULT_KEY_UNREAD,
    FAULT_MEMBER,
    FAULT_NONE,
    FIELD_ACCEPT_ENCODING,
    FRAMING_CHUNKED,
    FRAMING_LENGTH,
    FRAMING_NONE,
    METHOD_POST,
    UPGRADE_WEBSOCKET,
    Head,
)
from zeroproxy._fast.types.key_terms cimport TermsScan
from zeroproxy._fast.types.made_edit cimport EDITS_MAX
from zeroproxy._fast.types.memory cimport SLACK
from zeroproxy._fast.types.meter cimport RequestScan
from zeroproxy._fast.types.plane cimport Endpoint, Plane, Relay, Upstream
from zeroproxy._fast.types.record cimport (
    USAGE_BY_CALLER,
    USAGE_BY_REFUSED,
    USAGE_BY_UNASKED,
    USAGE_BY_US,
)

# ---------------------------------------------------------------- heads


cdef int usage_request_for(const Upstream *u, const Relay *r) noexcept nogil:
    """An upstream whose only endpoint refuses edits gets none."""
    cdef const Endpoint *e
    cdef uint32_t k, n_timings = 0
    cdef int usage_request = USAGE_REQUEST_RUNNING_ONLY
    if u.n_endpoints == 0:
        # Its server is not known yet: what all of them take.
        usage_request = USAGE_REQUEST_FINAL
    if not ends_with(r.x.path, r.x.path_len, b"/completions", 12) \
            and not ends_with(r.x.path, r.x.path_len, b"/invocations", 12):
        return USAGE_REQUEST_NONE
    for k in range(u.n_endpoints):
        e = u.endpoints[k]
        if e.usage_request == USAGE_REQUEST_TIMINGS:
            n_timings += 1
        elif e.usage_request < usage_request:
            usage_request = e.usage_request
        if e.refuses_usage and u.n_endpoints == 1:
            return USAGE_REQUEST_NONE
    if n_timings:
        return USAGE_REQUEST_TIMINGS if n_timings == u.n_endpoints else <int>USAGE_REQUEST_NONE
    return usage_request


cdef void begin_form(Relay *r, Head *h, const Target *to) noexcept nogil:
    """A form is read for its model only; its new length is known, so nothing is filled up."""
    cdef bint is_renamed = to.route != NULL and to.route.plain_len != 0
    if not is_renamed and not is_model_restricted(r):
        return
    r.x.scans_body = 1
    request_scan_begin(&r.x.scan.request, NULL)
    r.x.scan.request.is_done = 1
    if is_model_restricted(r):
        r.x.scan.request.is_watched = 1
        watch_begin(&r.x.scan.request.of_kind.watch, to.boundary, to.boundary_len)
    if not is_renamed:
        return
    request_scan_form(&r.x.scan.request, to.at)
    request_scan_rename(&r.x.scan.request, to.route.plain, to.route.plain_len, to.len)
    drop_digests(h)
    if h.framing == FRAMING_LENGTH:
        r.x.reserve = <int16_t>(<int>to.route.plain_len - <int>to.len)


cdef void begin_editing(
    Plane *p, Relay *r, Head *h, size_t here, const BodyStart *body, const Target *to,
) noexcept nogil:
    cdef RequestScan *a = &r.x.scan.request
    cdef int usage_request
    cdef bint must_stay
    if h.framing == FRAMING_NONE or h.method != METHOD_POST:
        if h.upgrade == UPGRADE_WEBSOCKET:
            meter_upgrade(r, h)
        return
    # A compressed answer cannot be counted; none of these servers compresses without this field.
    nominate(h, FIELD_ACCEPT_ENCODING)
    if body.kind == BODY_FORM:
        begin_form(r, h, to)
    if body.kind != BODY_JSON and r.x.model.len == 0:
        query_model(h, &r.x.model)
    if body.kind != BODY_JSON:
        return
    usage_request = usage_request_for(r.x.upstream, r)
    must_stay = usage_request != USAGE_REQUEST_NONE and is_signed(h)
    if must_stay:
        usage_request = USAGE_REQUEST_NONE
    a.is_signed = must_stay
    a.usage_request = <unsigned char>usage_request
    if to.route != NULL and to.route.real_len:
        request_scan_rename(a, to.route.real, to.route.real_len, to.len)
    begin_terms(r)
    if usage_request != USAGE_REQUEST_NONE or a.rename_len or has_insertions(a):
        make_room(r, h, here)
        if not is_left_alone(a):
            drop_digests(h)


cdef void make_room(Relay *r, const Head *h, size_t here) noexcept nogil:
    """The length that is announced leaves space for the edits."""
    cdef RequestScan *a = &r.x.scan.request
    cdef int most = <int>edit_bytes_max(a.usage_request) + a.rename_len
    if h.framing != FRAMING_LENGTH:
        return
    if has_insertions(a):
        most += TERMS_BYTES_MAX
    r.x.reserve = <int16_t>most
    if here >= h.length:
        request_scan_feed(a, 0, h.base + h.consumed, <size_t>h.length)
        r.x.reserve = <int16_t>edit_growth(a, h.length)


cdef inline bint has_insertions(const RequestScan *a) noexcept nogil:
    return a.of_kind.terms.inserts != 0 or a.of_kind.terms.salt != NULL


cdef inline bint is_left_alone(const RequestScan *a) noexcept nogil:
    """True if all of the body was read, and no edit is due."""
    cdef const TermsScan *t = &a.of_kind.terms
    return a.is_done and a.n_passed == a.n_places and not (t.cap and t.n_bounds)


# ---------------------------------------------------------------- bodies


cdef bint pass_plain(Plane *p, Relay *r, char *data, size_t n, bint is_last) noexcept nogil:
    """Send bytes without edits, framed in place. `data` has space for framing on both sides, unless
    it is empty."""
    cdef size_t before = 0
    if r.x.request_body.framing == FRAMING_CHUNKED:
        if n:
            before = frame_chunk(data, n)
            n += before + 2
            if is_last:
                n += frame_last(data - before + n)
        elif is_last:
            # The bytes behind may already be the next request: never write over them.
            data = <char *>last_chunk()
            n = LAST_CHUNK
    return n == 0 or send_up(p, r, data - before, n)


cdef bint pass_piece(Plane *p, Relay *r, const char *at, size_t n) noexcept nogil:
    """Send bytes that cannot be framed in place, since their neighbours are still needed."""
    cdef char *copy = p.compose + SLACK // 2
    if n == 0:
        return 1
    if r.x.request_body.framing != FRAMING_CHUNKED:
        return send_up(p, r, at, n)
    memcpy(copy, at, n)
    return pass_plain(p, r, copy, n, 0)


cdef bint may_edit(Relay *r, const Edit *due) noexcept nogil:
    if due.edited == 0:
        return 1
    if r.x.n_edits == EDITS_MAX:
        return 0
    if (
        r.x.request_body.framing == FRAMING_LENGTH
        and r.x.added + due.n_add - due.skip > r.x.reserve
    ):
        return 0
    if r.attempt.endpoint != NULL and r.attempt.endpoint.refuses_usage:
        r.x.usage_by = USAGE_BY_REFUSED
        return 0
    if not r.x.replayable and (r.attempt.endpoint == NULL or not r.attempt.endpoint.takes_usage):
        r.x.usage_by = USAGE_BY_UNASKED
        return 0
    return 1


cdef bint make_edit(Plane *p, Relay *r, const Edit *due) noexcept nogil:
    """Write the edit that is due, if it may be made. False: upstream takes no more bytes."""
    if not may_edit(r, due):
        return 1
    if not pass_piece(p, r, due.add, due.n_add):
        return 0
    r.x.added += <int16_t>(due.n_add - due.skip)
    r.x.skip = due.skip
    if due.edited == 0:
        return 1
    if r.x.replayable:
        r.x.edits[r.x.n_edits].at = buffer_len(&r.x.replay) - due.n_add
        if r.x.request_body.framing == FRAMING_CHUNKED:
            r.x.edits[r.x.n_edits].at -= 2
    r.x.edits[r.x.n_edits].n = due.n_add
    r.x.edits[r.x.n_edits].was = due.was
    r.x.n_edits += 1
    r.x.edited |= due.edited
    r.x.usage_by = USAGE_BY_US
    return 1


cdef bint pass_end(Plane *p, Relay *r) noexcept nogil:
    """End of an edited body: the last chunk, or blanks up to the announced length."""
    if r.x.request_body.framing == FRAMING_CHUNKED:
        return send_up(p, r, last_chunk(), LAST_CHUNK)
    # Bytes to leave out that the body did not have.
    r.x.added += <int16_t>r.x.skip
    r.x.skip = 0
    if r.x.request_body.framing == FRAMING_LENGTH and r.x.reserve > r.x.added:
        memset(p.compose, c' ', <size_t>(r.x.reserve - r.x.added))
        return send_up(p, r, p.compose, <size_t>(r.x.reserve - r.x.added))
    return 1


cdef inline bint is_refused(Plane *p, Relay *r) noexcept nogil:
    """Check the scan before its bytes pass: a second model refuses the request even if the first
    was allowed. So does a member that the upstream does not get. A quota of tokens is applied
    once the root has ended."""
    if r.x.scan.request.is_wide:
        r.x.fault = FAULT_BODY_CODE
    elif is_model_restricted(r) and (
        r.x.scan.request.has_model > 1 or r.x.scan.request.is_ambiguous
    ):
        r.x.fault = FAULT_KEY_UNREAD
    elif has_refused_member(r):
        r.x.fault = FAULT_MEMBER
    elif r.x.scan.request.reads_bound and r.x.scan.request.is_done:
        r.x.scan.request.reads_bound = 0
        r.x.fault = <unsigned char>judge_body(p, r)
    if r.x.fault == FAULT_NONE and reads_terms(&r.x.scan.request):
        r.x.fault = <unsigned char>judge_terms(r)
    return r.x.fault != FAULT_NONE


cdef bint pass_pieces(
    Plane *p, Relay *r, const char *at, size_t n, uint64_t end, Edit *due, bint is_last,
) noexcept nogil:
    """Send [at, at + n), the body up to offset `end`, with their edits; the first is `due`."""
    cdef bint has_due = due.n_add != 0
    cdef size_t k
    while has_due:
        k = n - <size_t>(end - due.at)
        if not pass_piece(p, r, at, k) or not make_edit(p, r, due):
            return 0
        k += leave_out(r, n - k)
        at += k
        n -= k
        has_due = edit_due(&r.x.scan.request, end - n, end, due)
    return pass_piece(p, r, at, n) and (not is_last or pass_end(p, r))


cdef inline size_t leave_out(Relay *r, size_t n) noexcept nogil:
    """Count of the next `n` bytes that are left out for an edit."""
    cdef size_t k = r.x.skip if r.x.skip < n else n
    r.x.skip -= <uint16_t>k
    return k


cdef bint lower_and_hold(
    Plane *p, Relay *r, char *data, size_t n, bint is_last, uint64_t *end,
) noexcept nogil:
    """Apply the cap of the key to the last `n` bytes of the body; `end`: those behind it wait. Held
    bytes of a number that has ended go first. False: no space, or refused."""
    if r.x.scans_body:
        lower_bounds(r, data, n)
    if r.x.terms.n_held and (is_last or not is_held_number_open(r, r.x.bytes_in - n)):
        if not pass_piece(p, r, r.x.terms.held, r.x.terms.n_held):
            return 0
        r.x.terms.n_held = 0
    if r.x.scans_body and not is_last:
        end[0] -= hold_digits(r, data, n)
    return r.x.fault == FAULT_NONE


cdef inline bint reads_terms(const RequestScan *a) noexcept nogil:
    return not a.is_watched and a.of_kind.terms.reads != 0


cdef bint scan_passing(Plane *p, Relay *r, uint64_t begin, char *data, size_t n) noexcept nogil:
    """Scan bytes on their way. False: the request is refused."""
    cdef RequestScan *a = &r.x.scan.request
    if a.n_read < r.x.bytes_in:
        request_scan_feed(a, begin, data, n)
    if a.is_watched and not watch_feed(&r.x.scan.request.of_kind.watch, data, n):
        a.is_ambiguous = 1
    if is_refused(p, r):
        return 0
    if r.x.usage_by == 0 and a.has_usage:
        r.x.usage_by = USAGE_BY_CALLER
    elif r.x.usage_by == 0 and a.is_stream and (a.edits_forbidden or a.is_signed):
        r.x.usage_by = USAGE_BY_UNASKED
    return 1


cdef bint pass_body(Plane *p, Relay *r, char *data, size_t n, bint is_last) noexcept nogil:
    cdef RequestScan *a = &r.x.scan.request
    cdef uint64_t end = r.x.bytes_in, begin = end - n
    cdef size_t k = leave_out(r, n)
    cdef Edit due
    due.n_add = 0
    if r.x.scans_body and not scan_passing(p, r, begin, data, n):
        return 0
    if not r.x.scans_body and r.x.surface.is_blind:
        # An endpoint that has answered needs no more of it.
        return 0
    if ((r.x.scans_body and reads_terms(a)) or r.x.terms.n_held) \
            and not lower_and_hold(p, r, data, n, is_last, &end):
        return 0
    if r.x.scans_body and a.n_passed < a.n_places:
        edit_due(a, begin + k, end, &due)
    data += k
    n = <size_t>(end - begin) - k
    if due.n_add or (is_last and r.x.reserve > r.x.added):
        return pass_pieces(p, r, data, n, end, &due, is_last)
    return pass_plain(p, r, data, n, is_last)


# ---------------------------------------------------------------- refusals


cdef bint retry_unedited(Plane *p, Relay *r, int status) noexcept nogil:
    """After 400 and 422 the server has not begun to work, so the retry costs nothing."""
    if (status != 400 and status != 422) or not r.x.edited or not r.x.replayable:
        return 0
    if r.attempt.endpoint.takes_usage:
        return 0
    undo_edits(r)
    r.x.refused_by = r.attempt.endpoint
    # An idle conn might be dead, and this attempt is beyond settings.max_attempts already.
    r.x.needs_fresh_conn = 1
    feed(p, r, IN_LOST_MAY_RETRY)
    return 1


cdef void judge_edits(Relay *r, int status) noexcept nogil:
    """Note the usage to be stripped as well, and if the endpoint takes edits."""
    if r.x.edited & EDITED_USAGE and r.x.scans_body:
        r.x.edited |= unrequested_running_usage(&r.x.scan.request)
    if status >= 300 or (r.x.scans_body and r.x.scan.request.is_guess):
        # The answer to an odd spelling does not predict the next one.
        return
    if r.x.refused_by != NULL:
        r.x.refused_by.refuses_usage = 1
    elif r.x.edited:
        r.attempt.endpoint.takes_usage = 1
