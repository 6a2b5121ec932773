"""Doors for tests and bench/micro onto the meter. Nothing else imports this."""

from zeroproxy._fast.meter cimport (
    KIND_EVENTS,
    KIND_JSON,
    meter_begin,
    meter_end,
    meter_feed,
)
from zeroproxy._fast.meter_types cimport Meter
from zeroproxy._fast.outcome cimport exactness_name
from zeroproxy._fast.types cimport Tokens

SIZE = sizeof(Meter)


cdef class MeterProbe:
    """One Meter; `kind` is "events" or "json"."""

    cdef Meter m

    def __init__(self, kind):
        meter_begin(&self.m, KIND_EVENTS if kind == "events" else <int>KIND_JSON)

    def feed(self, const unsigned char[::1] data):
        if data.shape[0]:
            meter_feed(&self.m, <const char *>&data[0], data.shape[0])

    def at_edge(self):
        return bool(self.m.at_edge)

    def end(self, is_whole=True):
        """(prompt, completion, cached, reasoning, exactness, model); None: not known."""
        cdef Tokens t
        exactness = meter_end(&self.m, is_whole, &t)
        counts = [v if v >= 0 else None for v in (t.prompt, t.completion, t.cached, t.reasoning)]
        model = self.m.model[:self.m.model_len].decode("utf-8", "replace")
        return (*counts, exactness_name(exactness).decode(), model)


def feed_many(const unsigned char[::1] event, int times, int warm=1):
    """Feed `event` again and again to one meter, in C: for the bench."""
    cdef Meter m
    cdef int _
    meter_begin(&m, KIND_EVENTS)
    with nogil:
        for _ in range(times):
            meter_feed(&m, <const char *>&event[0], event.shape[0])
    return m.n_events
