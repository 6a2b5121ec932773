"""Probes of the meter, for tests and bench/micro. Nothing else imports this."""

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memset

from zeroproxy._fast.engine.surface_table cimport add_member
from zeroproxy._fast.exchange.outcome_names cimport exactness_name
from zeroproxy._fast.exchange.response_usage cimport kind_of_path, kind_of_type, meter_path
from zeroproxy._fast.jsonscan.edits cimport Edit, edit_bytes_max, edit_due, edit_growth, edit_undo
from zeroproxy._fast.jsonscan.request_scan cimport request_scan_begin, request_scan_feed
from zeroproxy._fast.jsonscan.strings cimport name_add, name_clear, name_free, name_write
from zeroproxy._fast.types.meter cimport HeldEvent, Meter, RequestScan, Tokens
from zeroproxy._fast.types.model_name cimport MODEL_MAX, ModelName
from zeroproxy._fast.types.surface cimport MemberNames
from zeroproxy._fast.usage.response_meter cimport (
    KIND_EVENTS,
    KIND_FRAMES,
    KIND_JSON,
    KIND_LINES,
    meter_begin,
    meter_end,
    meter_feed,
    meter_finish_of,
    meter_is_inside,
)
from zeroproxy._fast.usage.strip cimport strip_events

SIZE = sizeof(Meter)


KINDS = {"events": KIND_EVENTS, "json": KIND_JSON, "lines": KIND_LINES, "frames": KIND_FRAMES}
FINISHES = ("", "done", "error", "cut")


cdef class MeterProbe:
    """One Meter; `kind` is a key of KINDS, or "" to choose by `path` and `content_type` (None: the
    response has none). `n`: choices per prompt."""

    cdef Meter m
    cdef ModelName name

    def __dealloc__(self):
        name_free(&self.name)

    def __init__(self, kind, n=1, bytes path=b"", bytes content_type=None):
        if kind:
            chosen = KINDS[kind]
        elif content_type is None:
            chosen = kind_of_path(path, len(path))
        else:
            chosen = kind_of_type(content_type, len(content_type))
        meter_begin(&self.m, chosen)
        name_clear(&self.name)
        self.m.model = &self.name
        meter_path(&self.m, path, len(path))
        self.m.n_requested = n

    def heads(self, prompt, completion):
        """Set the counts of TGI's response fields."""
        self.m.head_prompt = prompt
        self.m.head_completion = completion

    def feed(self, const unsigned char[::1] data):
        if data.shape[0]:
            meter_feed(&self.m, <const char *>&data[0], data.shape[0])

    def is_inside(self):
        """True if a body that ends here ends in the middle of something."""
        return bool(meter_is_inside(&self.m))

    def at_edge(self):
        return bool(self.m.at_edge)

    def events(self):
        return self.m.n_events

    def end(self, is_whole=True, status=200):
        """(prompt, completion, cached, reasoning, exactness, finish, model); None: not known."""
        cdef Tokens t
        exactness = meter_end(&self.m, is_whole, status, &t)
        finish = FINISHES[meter_finish_of(&self.m, is_whole, status)]
        counts = [v if v >= 0 else None for v in (t.prompt, t.completion, t.cached, t.reasoning)]
        model = text_of(&self.name).decode("utf-8", "replace")
        return (*counts, exactness_name(exactness).decode(), finish, model)

    def first_wrong_split(self, const unsigned char[::1] data, bint is_whole, int status):
        """Feed `data` to copies of this meter in two parts, at every place, and byte by byte.
        Returns the first split whose end differs from that of the whole; -1: none does."""
        cdef Meter whole = self.m, parts = self.m
        cdef ModelName of_whole, of_parts
        cdef const char *at = <const char *>&data[0]
        cdef size_t k, n = data.shape[0]
        cdef Py_ssize_t wrong = -1
        memset(&of_whole, 0, sizeof(ModelName))
        memset(&of_parts, 0, sizeof(ModelName))
        whole.model = &of_whole
        parts.model = &of_parts
        with nogil:
            meter_feed(&whole, at, n)
            for k in range(n):
                meter_feed(&parts, at + k, 1)
                if k + 1 == n:
                    break
                if not same_end(parts, at + k + 1, n - k - 1, whole, is_whole, status):
                    wrong = k + 1
                    break
            if wrong < 0 and not same_end(parts, at, 0, whole, is_whole, status):
                wrong = n
            name_free(&of_whole)
            name_free(&of_parts)
        return wrong


cdef bint same_end(
    Meter a, const char *rest, size_t n, Meter b, bint is_whole, int status,
) noexcept nogil:
    """True if `a`, given the rest, ends as `b` does; both are copies."""
    cdef Tokens s
    cdef Tokens t
    cdef ModelName name = a.model[0]
    cdef char[MODEL_MAX] x
    cdef char[MODEL_MAX] y
    cdef size_t len
    # A copy of its own, the part behind the head too.
    name.more = NULL
    len = name_write(a.model, x)
    if a.model.more != NULL:
        name.len = 0
        name_add(&name, x, len)
    a.model = &name
    if n:
        meter_feed(&a, rest, n)
    len = name_write(&name, x)
    name_free(&name)
    return (
        meter_end(&a, is_whole, status, &s) == meter_end(&b, is_whole, status, &t)
        and s.prompt == t.prompt and s.completion == t.completion and s.cached == t.cached
        and s.reasoning == t.reasoning and a.n_events == b.n_events and a.at_edge == b.at_edge
        and meter_finish_of(&a, is_whole, status) == meter_finish_of(&b, is_whole, status)
        and len == name_write(b.model, y) and memcmp(x, y, len) == 0
    )


cdef bytes text_of(const ModelName *name):
    cdef char[MODEL_MAX] text
    return text[:name_write(name, text)]


cdef class RequestScanProbe:
    """One RequestScan. `feed` gives the bytes back as they go upstream, with every edit made."""

    cdef RequestScan a
    cdef ModelName name
    cdef MemberNames refusable
    cdef tuple refuses
    cdef readonly int edited
    cdef int skip
    cdef list done          # (offset in the output, bytes, was)
    cdef size_t sent
    cdef uint64_t passed

    def __dealloc__(self):
        name_free(&self.name)

    def __init__(self, int usage_request, is_strict=False, reads_bound=False, refuses=()):
        request_scan_begin(&self.a, &self.name)
        self.refuses = refuses
        for name in refuses:
            add_member(&self.refusable, name)
        self.a.refusable = &self.refusable if refuses else NULL
        self.a.usage_request = usage_request
        self.a.is_strict = is_strict
        self.a.reads_bound = reads_bound
        self.done = []

    def feed(self, bytes data):
        cdef const char *at = data
        cdef size_t left = len(data), k
        cdef uint64_t end = self.passed + left
        cdef Edit due
        out = b""
        request_scan_feed(&self.a, self.passed, at, left)
        while True:
            k = self.skip if self.skip < left else left
            self.skip -= <int>k
            at += k
            left -= k
            if not edit_due(&self.a, end - left, end, &due):
                break
            k = left - <size_t>(end - due.at)
            out += at[:k]
            at += k
            left -= k
            self.done.append((self.sent + len(out), due.n_add, due.was))
            out += due.add[:due.n_add]
            self.edited |= due.edited
            self.skip = due.skip
        out += at[:left]
        self.sent += len(out)
        self.passed = end
        return out

    def named(self):
        """The rules of `refuses` that a member of the root has met so far."""
        return {name for k, name in enumerate(self.refuses) if self.a.named >> k & 1}

    def read_ahead(self, bytes start):
        """Look at the first bytes of the body, before any of them passes."""
        request_scan_feed(&self.a, 0, start, len(start))

    def growth(self):
        """Growth of the body that was read ahead by its edits."""
        return edit_growth(&self.a, self.a.n_read)

    def offsets(self):
        """Offsets of the user and of the prompt: (begin, end) each, (0, 0): not found."""
        cdef uint64_t user_at = self.a.user_at if self.a.user_end else 0
        return (user_at, self.a.user_end), (self.a.prompt_at, self.a.prompt_end)

    def undo(self, bytes output):
        """The whole output with its edits taken back, at the same length."""
        cdef bytearray body = bytearray(output)
        cdef char *at = body
        for where, n, was in self.done:
            edit_undo(at + <size_t>where, n, was)
        return bytes(body)

    @property
    def bound(self):
        return self.a.bound

    def seen(self):
        """(model, stream, n, include_usage, is_done) of the body."""
        return (
            text_of(&self.name), bool(self.a.is_stream), self.a.n,
            bool(self.a.has_usage), bool(self.a.is_done),
        )

    def doubts(self):
        """(models that were named, is_ambiguous, is_wide, is_guess)"""
        return (
            self.a.has_model, bool(self.a.is_ambiguous), bool(self.a.is_wide),
            bool(self.a.is_guess),
        )


def longest_edit(int usage_request):
    return edit_bytes_max(usage_request)


cdef class StripProbe:
    """Strips an event stream as the relay does. Bytes that wait or go on are kept for the next
    call."""

    cdef MeterProbe probe
    cdef int edited
    cdef HeldEvent held
    cdef bytes part

    def __init__(self, MeterProbe probe, int edited):
        self.probe = probe
        self.edited = edited
        self.part = b""

    def feed(self, bytes data, bint is_last=False):
        cdef bytearray body = bytearray(self.part + data)
        cdef char *at = body
        cdef size_t left = 0, kept = strip_events(
            &self.probe.m, self.edited, &self.held, at, len(body), &left
        )
        waits = bytes(body[kept:kept + self.held.len])
        rest = bytes(body[len(body) - left:])
        self.part = waits + rest
        if is_last or (not waits and rest.startswith(b":")):
            self.probe.feed(rest)
            self.held.len = 0
            self.part = b""
            return bytes(body[:kept]) + waits + rest
        return bytes(body[:kept])


def feed_many(const unsigned char[::1] event, int times, int warm=1):
    """Feed `event` again and again to one meter, in C: for the bench."""
    cdef Meter m
    cdef int _
    meter_begin(&m, KIND_EVENTS)
    with nogil:
        for _ in range(times):
            meter_feed(&m, <const char *>&event[0], event.shape[0])
    return m.n_events
