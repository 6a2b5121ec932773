"""The limit of exchanges in flight at an endpoint: fixed, or adaptive.

An adaptive limit goes up by one per round of first tokens that came in time while it was used. It
goes down by a tenth when one came late or the endpoint sent 429 or 503 (AIMD, as TCP does it).

Law 1. A limit is lowered once per round: only by an attempt that began after it was lowered last.
       The others were sent under the higher limit and are no evidence about the lower one.
Law 2. Only responses that come event by event are measured. The first byte of any other is its
       last, and its time depends on the answer's length.
Tests: tests/unit/test_limit.py.
"""

from libc.stdint cimport uint32_t, uint64_t

from zeroproxy._fast.types.admission_limits cimport AdmissionSettings
from zeroproxy._fast.types.plane cimport Endpoint, Relay

cdef enum:
    LIMIT_ONE = 1 << 20
    LIMIT_MOST = 65536      # where max_inflight sets none
    LIMIT_FIRST = 32        # at first, where max_inflight sets none


cdef void set_exact(Endpoint *e, uint64_t exact) noexcept nogil:
    cdef const AdmissionSettings *t = &e.upstream.admission
    cdef uint64_t most = t.max_inflight if t.max_inflight else <uint64_t>LIMIT_MOST
    cdef uint64_t least = t.min_inflight if t.min_inflight < most else most
    if exact > most * LIMIT_ONE:
        exact = most * LIMIT_ONE
    if exact < least * LIMIT_ONE:
        exact = least * LIMIT_ONE
    if exact < LIMIT_ONE:
        exact = LIMIT_ONE
    e.limit.exact = exact
    e.limit.now = <uint32_t>(exact // LIMIT_ONE)


cdef void limit_begin(Endpoint *e) noexcept nogil:
    """Apply the settings; a limit that was found stays, as far as they allow."""
    cdef const AdmissionSettings *t = &e.upstream.admission
    if t.ttft_target_ns == 0:
        e.limit.now = t.max_inflight
        e.limit.exact = 0
    elif e.limit.exact:
        set_exact(e, e.limit.exact)
    else:
        set_exact(e, <uint64_t>(t.max_inflight if t.max_inflight else LIMIT_FIRST) * LIMIT_ONE)


cdef void lower(Endpoint *e, uint64_t began_ns, uint64_t now) noexcept nogil:
    if began_ns <= e.limit.cut_ns:
        return
    e.limit.cut_ns = now
    e.limit.n_cuts += 1
    set_exact(e, e.limit.exact - e.limit.exact // 10)


cdef bint limit_observe(const Relay *r, uint64_t now) noexcept nogil:
    """Note the first content of an answer. 1: one exchange more may be sent."""
    cdef Endpoint *e = r.attempt.endpoint
    cdef uint64_t target = e.upstream.admission.ttft_target_ns
    cdef uint32_t was = e.limit.now
    if target == 0 or not r.x.is_streamed or r.x.status >= 400:
        return 0
    if now - r.attempt.began_ns > target:
        lower(e, r.attempt.began_ns, now)
    elif e.inflight >= e.limit.now:
        set_exact(e, e.limit.exact + LIMIT_ONE // e.limit.now)
    return e.limit.now > was


cdef void limit_busy(const Relay *r, uint64_t now) noexcept nogil:
    """Lower the limit: the endpoint answered 429 or 503."""
    if r.attempt.endpoint.upstream.admission.ttft_target_ns:
        lower(r.attempt.endpoint, r.attempt.began_ns, now)


cdef double limit_learned(const Endpoint *e) noexcept nogil:
    return <double>e.limit.exact / LIMIT_ONE


cdef void limit_restore(Endpoint *e, double limit) noexcept nogil:
    """0: nothing was found. One that was lowered here stays."""
    if e.upstream.admission.ttft_target_ns and limit and e.limit.n_cuts == 0:
        set_exact(e, <uint64_t>(min(limit, <double>LIMIT_MOST) * LIMIT_ONE))
