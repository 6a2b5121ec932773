"""Fields in which the official SDKs tell how long they wait, and which retry a request is.

openai and anthropic of PyPI send X-Stainless-Read-Timeout, those of npm X-Stainless-Timeout: both
in seconds. All send X-Stainless-Retry-Count.

Law. They are hints: one that is malformed, occurs twice, or is out of range says nothing. So no
     request is refused for them, and none waits less than its caller has asked for.
Tests: tests/relay/test_steer.py.
"""

from libc.stdint cimport uint64_t

from zeroproxy._fast.http1.field_ids_and_values cimport read_number
from zeroproxy._fast.http1.field_lines cimport has_field
from zeroproxy._fast.http1.grammar cimport Cursor
from zeroproxy._fast.types.clock cimport NS_PER_S
from zeroproxy._fast.types.http cimport (
    FIELD_SDK_READ_TIMEOUT,
    FIELD_SDK_RETRY_COUNT,
    FIELD_SDK_TIMEOUT,
    Field,
    Head,
)
from zeroproxy._fast.types.plane cimport Relay

cdef enum:
    PATIENCE_MOST_S = 86400     # longer is as good as none
    DECIMALS_MOST = 9
    RETRIES_MOST = 1000000

cdef uint64_t SDK_FIELDS = (
    (1ULL << <int>FIELD_SDK_RETRY_COUNT) | (1ULL << <int>FIELD_SDK_READ_TIMEOUT)
    | (1ULL << <int>FIELD_SDK_TIMEOUT)
)


cdef const Field *only_field(const Head *h, int id) noexcept nogil:
    """The field, if it occurs once."""
    cdef const Field *found = NULL
    cdef int i
    if not has_field(h, id):
        return NULL
    for i in range(h.n_fields):
        if h.fields[i].id != id:
            continue
        if found != NULL:
            return NULL
        found = &h.fields[i]
    return found


cdef uint64_t seconds(Cursor at, size_t n) noexcept nogil:
    """Nanoseconds of 1*DIGIT [ "." 1*9DIGIT ]; 0: it is anything else."""
    cdef size_t whole = 0
    cdef uint64_t s, part = 0
    while whole < n and at[whole] != c'.':
        whole += 1
    if not read_number(at, whole, &s) or s > PATIENCE_MOST_S:
        return 0
    if whole < n:
        n -= whole + 1
        if n > DECIMALS_MOST or not read_number(at + whole + 1, n, &part):
            return 0
        for _ in range(n, DECIMALS_MOST):
            part *= 10
    return s * NS_PER_S + part


cdef uint64_t patience(const Head *h, int id) noexcept nogil:
    cdef const Field *f = only_field(h, id)
    return seconds(<Cursor>h.base + f.value_at, f.value_len) if f != NULL else 0


cdef bint is_again(const Head *h) noexcept nogil:
    cdef const Field *f = only_field(h, FIELD_SDK_RETRY_COUNT)
    cdef uint64_t n
    return f != NULL and read_number(<Cursor>h.base + f.value_at, f.value_len, &n) \
        and 0 < n <= RETRIES_MOST


cdef uint64_t caller_patience(const Head *h) noexcept nogil:
    cdef uint64_t one, other
    if not h.ids & SDK_FIELDS:
        return 0
    one = patience(h, FIELD_SDK_READ_TIMEOUT)
    other = patience(h, FIELD_SDK_TIMEOUT)
    return min(one, other) if one and other else max(one, other)


cdef void read_sdk_fields(Relay *r, const Head *h) noexcept nogil:
    if not h.ids & SDK_FIELDS:
        return
    if is_again(h):
        r.x.upstream.queue.departures.n_again += 1
        r.x.waiting.is_again = r.x.upstream.admission.steers
    if r.x.upstream.admission.heeds_deadlines:
        r.x.waiting.patience_ns = caller_patience(h)
