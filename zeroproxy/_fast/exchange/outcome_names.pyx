"""Outcomes: blame, phase and cause of the end of an exchange.

Law 1. Every exchange ends with exactly one outcome; it is written `blame/phase/cause` in logs,
       metrics and records, and `ok` without blame.
Law 2. The status a caller sees for an outcome is decided here and nowhere else.
Tests: tests/relay/test_endings.py.
"""

from zeroproxy._fast.types.exchange_enums cimport (
    BLAME_COUNT,
    BLAME_DOWNSTREAM,
    BLAME_NOBODY,
    CAUSE_COUNT,
    CAUSE_DONE,
    CAUSE_DRAINED,
    CAUSE_NO_ENDPOINT,
    CAUSE_OVERLOAD,
    CAUSE_TIMEOUT,
    CAUSE_TOKEN,
    PHASE_COUNT,
)
from zeroproxy._fast.types.meter cimport EXACTNESS_COUNT

cdef const char* PHASES[PHASE_COUNT]
PHASES[:] = [
    b"idle", b"head", b"pending", b"queued", b"connecting", b"waiting", b"relaying", b"tunnel",
    b"flushing", b"lingering", b"closed",
]
cdef const char* BLAMES[BLAME_COUNT]
BLAMES[:] = [b"nobody", b"downstream", b"upstream", b"ourselves"]
cdef const char* CAUSES[CAUSE_COUNT]
CAUSES[:] = [
    b"done", b"closed", b"reset", b"timeout", b"malformed", b"too_large", b"refused",
    b"overload", b"no_endpoint", b"drained", b"tls", b"token", b"network", b"surface",
]
cdef const char* EXACTNESSES[EXACTNESS_COUNT]
EXACTNESSES[:] = [b"exact", b"lower_bound", b"none", b"untrusted", b"uncounted"]


cdef const char *exactness_name(int exactness) noexcept nogil:
    return EXACTNESSES[exactness]


cdef int outcome_status(int blame, int cause) noexcept nogil:
    """Faults of a request's bytes have a status of their own (head_parser, fault_status)."""
    if cause in (CAUSE_OVERLOAD, CAUSE_NO_ENDPOINT, CAUSE_DRAINED, CAUSE_TOKEN):
        return 503
    if cause == CAUSE_TIMEOUT:
        return 408 if blame == BLAME_DOWNSTREAM else 504
    return 400 if blame == BLAME_DOWNSTREAM else 502


def outcome_label(int blame, int phase, int cause):
    """The label of an outcome in metrics, logs and records: `ok` or `upstream/waiting/timeout`."""
    if blame == BLAME_NOBODY and cause == CAUSE_DONE:
        return "ok"
    return f"{BLAMES[blame].decode()}/{PHASES[phase].decode()}/{CAUSES[cause].decode()}"
