"""Readers of bytes in passing: the meter, the scan of a request, and the removal of usage.

An input is three bytes of choices, then the body.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from fuzz.pieces cimport copy_of, demand, next_piece, seed_of
from zeroproxy._fast.jsonscan.edits cimport (
    USAGE_REQUEST_COUNT,
    Edit,
    edit_bytes_max,
    edit_due,
    edit_growth,
    edit_undo,
)
from zeroproxy._fast.jsonscan.request_scan cimport (
    request_scan_begin,
    request_scan_feed,
    request_scan_is_in_model,
    request_scan_rename,
)
from zeroproxy._fast.jsonscan.strings cimport name_free, name_write
from zeroproxy._fast.types.meter cimport HeldEvent, Meter, RequestScan, Tokens
from zeroproxy._fast.types.model_name cimport MODEL_MAX, ModelName
from zeroproxy._fast.usage.response_meter cimport (
    KIND_EVENTS,
    KIND_FRAMES,
    meter_begin,
    meter_end,
    meter_feed,
    meter_finish_of,
)
from zeroproxy._fast.usage.strip cimport strip_events

cdef enum:
    CHOICES = 3
    LONGEST_EDITS = 4096


cdef void feed_in_pieces(Meter *m, const char *at, size_t n, uint64_t seed) noexcept nogil:
    cdef size_t k
    cdef char *piece
    while n:
        k = next_piece(&seed, n)
        piece = copy_of(at, k)
        meter_feed(m, piece, k)
        free(piece)
        at += k
        n -= k


cdef void demand_same_name(const ModelName *a, const ModelName *b) noexcept nogil:
    cdef char[MODEL_MAX] x
    cdef char[MODEL_MAX] y
    cdef size_t n = name_write(a, x)
    demand(n == name_write(b, y) and memcmp(x, y, n) == 0)


cdef void demand_same(Meter *a, Meter *b, bint is_whole, int status) noexcept nogil:
    """Two meters of one body end alike."""
    cdef Tokens s
    cdef Tokens t
    demand(meter_end(a, is_whole, status, &s) == meter_end(b, is_whole, status, &t))
    demand(s.prompt == t.prompt and s.completion == t.completion)
    demand(s.cached == t.cached and s.reasoning == t.reasoning)
    demand(a.n_events == b.n_events and a.at_edge == b.at_edge)
    demand(meter_finish_of(a, is_whole, status) == meter_finish_of(b, is_whole, status))
    demand_same_name(a.model, b.model)


cdef int meter(const uint8_t *data, size_t size) noexcept nogil:
    cdef Meter whole
    cdef Meter parts
    cdef ModelName[2] names
    cdef const char *at = <const char *>data + CHOICES
    cdef size_t n = size - CHOICES
    cdef char *copy
    if size <= CHOICES:
        return -1
    memset(names, 0, sizeof(names))
    meter_begin(&whole, KIND_EVENTS + data[0] % KIND_FRAMES)
    whole.n_requested = data[0] >> 4
    parts = whole
    whole.model = &names[0]
    parts.model = &names[1]
    copy = copy_of(at, n)
    meter_feed(&whole, copy, n)
    feed_in_pieces(&parts, at, n, seed_of(data[1]))
    demand_same(&whole, &parts, data[2] & 1, 500 if data[2] & 2 else 200)
    name_free(&names[0])
    name_free(&names[1])
    free(copy)
    return 0

# ---------------------------------------------------------------- requests


cdef struct Passed:         # a request body as it goes upstream
    RequestScan scan
    size_t passed
    size_t skip
    size_t n
    size_t added
    size_t left_out
    char *out


cdef size_t leave_out(Passed *p, size_t n) noexcept nogil:
    cdef size_t k = p.skip if p.skip < n else n
    p.skip -= k
    p.left_out += k
    return k


cdef void pass_piece(Passed *p, const char *from_, size_t n) noexcept nogil:
    """Pass the next `n` bytes of the body, of which a look may have read some before."""
    cdef char *at = copy_of(from_, n)
    cdef Edit due
    cdef size_t end = p.passed + n, k = leave_out(p, n), to
    request_scan_feed(&p.scan, p.passed, at, n)
    while True:
        memset(&due, 0, sizeof(due))
        to = n
        if edit_due(&p.scan, p.passed + k, end, &due):
            demand(due.n_add and p.passed + k <= due.at < end)
            to = <size_t>due.at - p.passed
        memcpy(p.out + p.n, at + k, to - k)
        p.n += to - k
        if due.n_add == 0:
            break
        memcpy(p.out + p.n, due.add, due.n_add)
        edit_undo(p.out + p.n, due.n_add, due.was)
        memcpy(p.out + p.n, due.add, due.n_add)
        p.n += due.n_add
        p.added += due.n_add
        p.skip = due.skip
        k = to + leave_out(p, n - to)
    p.passed = end
    free(at)


cdef void look(RequestScan *a, const char *body, size_t n) noexcept nogil:
    """Look at the first bytes of a body, as routing does."""
    cdef char *at = copy_of(body, n)
    request_scan_feed(a, 0, at, n)
    free(at)


cdef void demand_same_facts(const RequestScan *a, const RequestScan *b) noexcept nogil:
    demand(a.n == b.n and a.is_stream == b.is_stream and a.is_done == b.is_done)
    demand(a.has_model == b.has_model and a.raw_len == b.raw_len and a.is_wide == b.is_wide)
    demand(a.has_usage == b.has_usage and a.has_running == b.has_running)
    demand(a.edits_forbidden == b.edits_forbidden and a.bound == b.bound)
    demand(a.is_ambiguous == b.is_ambiguous and a.is_guess == b.is_guess)
    demand(a.user_end == b.user_end and a.prompt_at == b.prompt_at)
    demand(a.prompt_end == b.prompt_end and a.n_read == b.n_read and a.n_places == b.n_places)
    demand(a.user_end == 0 or a.user_at == b.user_at < a.user_end <= a.n_read)


cdef void pass_in_pieces(Passed *p, const char *at, size_t n, uint64_t seed) noexcept nogil:
    cdef size_t done = 0, k
    while done < n:
        k = next_piece(&seed, n - done)
        pass_piece(p, at + done, k)
        done += k


cdef int request_scan(const uint8_t *data, size_t size) noexcept nogil:
    cdef Passed whole
    cdef Passed parts
    cdef RequestScan ahead
    cdef ModelName[2] names
    cdef const char *at = <const char *>data + CHOICES
    cdef size_t n = size - CHOICES, most
    if size <= CHOICES:
        return -1
    memset(&whole, 0, sizeof(whole))
    memset(names, 0, sizeof(names))
    request_scan_begin(&whole.scan, &names[0])
    whole.scan.usage_request = data[0] % USAGE_REQUEST_COUNT
    whole.scan.reads_bound = 1
    whole.scan.is_strict = data[0] >> 7
    ahead = whole.scan
    ahead.name = NULL
    look(&ahead, at, n)
    if ahead.has_model == 1 and not request_scan_is_in_model(&ahead) and data[0] & 64:
        request_scan_rename(&whole.scan, b'"another"', 9, ahead.raw_len + 2)
        request_scan_rename(&ahead, b'"another"', 9, ahead.raw_len + 2)
    parts = whole
    parts.scan.name = &names[1]
    whole.out = <char *>malloc(n + LONGEST_EDITS)
    parts.out = <char *>malloc(n + LONGEST_EDITS)
    pass_piece(&whole, at, n)
    look(&parts.scan, at, n * data[2] // 512)
    look(&parts.scan, at, n * data[2] // 256)
    pass_in_pieces(&parts, at, n, seed_of(data[1]))
    demand(whole.n == parts.n and memcmp(whole.out, parts.out, whole.n) == 0)
    demand(whole.n == n + whole.added - whole.left_out)
    demand(edit_growth(&ahead, n) == <int>whole.added - <int>whole.left_out)
    most = edit_bytes_max(data[0] % USAGE_REQUEST_COUNT) + whole.left_out + ahead.rename_len
    demand(whole.added <= most)
    demand_same_name(&names[0], &names[1])
    demand_same_facts(&whole.scan, &parts.scan)
    name_free(&names[0])
    name_free(&names[1])
    free(whole.out)
    free(parts.out)
    return 0

# ---------------------------------------------------------------- responses to edited requests


cdef size_t strip_pieces(
    Meter *m, int edited, const char *at, size_t n, char *out, uint64_t seed, bint is_whole,
) noexcept nogil:
    """Strip as the relay does: bytes that wait or go on stand in front of the next read. Returns
    the number of bytes sent, in `out`."""
    cdef HeldEvent held
    cdef char *part = <char *>malloc(n + 1)
    cdef char *block
    cdef size_t done = 0, sent = 0, part_len = 0, left = 0, k, len, kept
    memset(&held, 0, sizeof(held))
    while done < n:
        k = n if is_whole else next_piece(&seed, n - done)
        len = part_len + k
        block = <char *>malloc(len)
        memcpy(block, part, part_len)
        memcpy(block + part_len, at + done, k)
        kept = strip_events(m, edited, &held, block, len, &left)
        demand(kept + held.len + left <= len)
        demand(memcmp(block + len - left, at + done + k - left, left) == 0)
        memcpy(out + sent, block, kept)
        memcpy(part, block + kept, held.len)
        memcpy(part + held.len, block + len - left, left)
        part_len = held.len + left
        free(block)
        sent += kept
        done += k
    if left:
        meter_feed(m, part + held.len, left)
    memcpy(out + sent, part, part_len)
    free(part)
    return sent + part_len


cdef int strip(const uint8_t *data, size_t size) noexcept nogil:
    cdef Meter whole
    cdef Meter parts
    cdef Meter plain
    cdef ModelName[3] names
    cdef const char *at = <const char *>data + CHOICES
    cdef size_t n = size - CHOICES, kept
    cdef int edited
    cdef char *out
    cdef char *other
    if size <= CHOICES:
        return -1
    edited = data[0] & 7
    out, other = <char *>malloc(n), <char *>malloc(n)
    meter_begin(&whole, KIND_EVENTS)
    parts = plain = whole
    memset(names, 0, sizeof(names))
    whole.model, parts.model, plain.model = &names[0], &names[1], &names[2]
    kept = strip_pieces(&whole, edited, at, n, out, 0, 1)
    demand(strip_pieces(&parts, edited, at, n, other, seed_of(data[1]), 0) == kept)
    demand(memcmp(out, other, kept) == 0)
    demand(edited or (kept == n and memcmp(out, at, n) == 0))
    meter_feed(&plain, at, n)
    demand_same(&whole, &plain, data[2] & 1, 200)
    demand_same(&whole, &parts, data[2] & 1, 200)
    name_free(&names[0])
    name_free(&names[1])
    name_free(&names[2])
    free(out)
    free(other)
    return 0


TARGETS = {
    "meter": <size_t>&meter,
    "request_scan": <size_t>&request_scan,
    "strip": <size_t>&strip,
}
