"""Speed of an endpoint: times of its own answers, as lines over the exchanges it has in flight.

Law 1. Only whole 2xx answers to POST are samples: an endpoint that fails quickly is not quick. Each
       failure doubles the expected time, until it has answered well again.
Law 2. A sample belongs to the load it was made under. For the wait for the first byte that is the
       load at its start; for the rest the average over its time, which `area` integrates.
Law 3. Old samples fade, with every new one and with time.
Law 4. A server's report of its own load counts until it is stale, corrected by the requests sent
       since. It never makes the load less than our own.
Law 5. Nothing here runs unless the upstream is configured with `fastest`.
Tests: tests/unit/test_balance.py.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from zeroproxy._fast.types.affinity_and_latency cimport (
    BALANCE_FASTEST,
    LatencyModel,
    LinearFit,
    ReportedLoad,
    ResponseLength,
)
from zeroproxy._fast.types.clock cimport NS_PER_S
from zeroproxy._fast.types.http cimport METHOD_POST
from zeroproxy._fast.types.plane cimport Attempt, Endpoint, Plane, Relay
from zeroproxy._fast.upstream.breaker cimport RESULT_BUSY, RESULT_FAILED, RESULT_OK

cdef enum:
    SAMPLES = 32            # an old sample's weight falls by 1/e with so many new ones
    SINKS = 4               # `low` follows lesser samples quickly, others slowly
    RISES = 64
    FADE_S = 10             # and by half in so many seconds without one
    EXPLORE_S = 10          # one that is idle is tried after so long,
    EXPLORE_MAX_S = 60      # at most,
    EXPLORE_SHARE = 20      # or after so many times what it would take, so that it costs little
    LOST_MAX = 16

# A weak prior: a server's time grows with its load at a fifth of the rate of one that does a thing
# at a time. Where the load never varies the data have no slope. Measured with
# tests/support/two_speeds.py; half or thrice as much changes little.
cdef double PRIOR = 0.1
cdef double PRIOR_SLOPE = 0.2


# ---------------------------------------------------------------- lines over the load


cdef void fit_line(LinearFit *f) noexcept nogil:
    """Fit a line of positive slope. It may begin below zero: a server takes more and more at no
    cost until it is full; later requests wait. The line is that of the present load; `low` is below
    it."""
    cdef double q = f.q / f.w
    cdef double y = f.y / f.w
    cdef double steepest = y / q if q > 1 else y
    cdef double spread = f.qq / f.w - q * q
    cdef double slope = f.qy / f.w - q * y
    f.b = (slope + PRIOR * PRIOR_SLOPE * steepest) / (spread + PRIOR)
    if f.b < 0:
        f.b = 0
    f.a = y - f.b * q


cdef void fit_add(LinearFit *f, double q, double y, uint64_t now) noexcept nogil:
    cdef double age = <double>(now - f.at_ns) / <double>NS_PER_S if now > f.at_ns else 0
    cdef double keep = (1 - 1.0 / SAMPLES) * FADE_S / (FADE_S + age)
    if f.w == 0 or f.w * keep < 1:
        f.low = y
    else:
        f.low += (y - f.low) / (SINKS if y < f.low else RISES)
    f.w = f.w * keep + 1
    f.q = f.q * keep + q
    f.y = f.y * keep + y
    f.qq = f.qq * keep + q * q
    f.qy = f.qy * keep + q * y
    f.at_ns = now
    fit_line(f)


cdef inline double at(const LinearFit *f, double q) noexcept nogil:
    cdef double y = f.a + f.b * q
    return y if y > f.low else f.low


cdef bint latency_is_known(const Endpoint *e) noexcept nogil:
    return e.latency.first.w > 0 or e.latency.whole.w > 0


cdef double latency_estimate(
    const LatencyModel *s, const ResponseLength *l, double q,
) noexcept nogil:
    """Time that an exchange is expected to take with q in flight, itself included, in ns; > 0."""
    cdef double share = l.streamed
    if s.whole.w == 0:
        share = 1
    elif s.first.w == 0:
        share = 0
    return 1 + (1 - share) * at(&s.whole, q) \
        + share * (at(&s.first, q) + l.events * at(&s.gap, q))


cdef void latency_forget(Endpoint *e) noexcept nogil:
    """Forget the samples: another server may have come up. Exchanges in flight go on."""
    cdef LatencyModel *s = &e.latency
    memset(&s.first, 0, sizeof(LinearFit))
    memset(&s.gap, 0, sizeof(LinearFit))
    memset(&s.whole, 0, sizeof(LinearFit))
    s.failures = 0
    s.tried_ns = 0
    s.reported.until_ns = 0


# ---------------------------------------------------------------- load


cdef double latency_load(const Endpoint *e, uint64_t now) noexcept nogil:
    """Exchanges in flight there, those of other proxies as far as they are known."""
    cdef const ReportedLoad *reported = &e.latency.reported
    cdef double own = e.inflight
    cdef double all_
    if now >= reported.until_ns:
        return own
    all_ = <double>reported.running + reported.waiting + own - reported.inflight
    return all_ if all_ > own else own


cdef void roll_area(Endpoint *e, uint64_t now) noexcept nogil:
    """Integrate up to now; call it before the load changes."""
    cdef LatencyModel *s = &e.latency
    if now > s.area_ns:
        s.area += <uint64_t>(latency_load(e, now) * <double>(now - s.area_ns))
        s.area_ns = now


cdef void latency_report_load(
    Endpoint *e, double[3] load, uint64_t lasts, uint64_t now,
) noexcept nogil:
    """Take a server's report: requests that run and wait, part of the cache used (-1: unknown)."""
    roll_area(e, now)
    e.latency.reported.running = <uint32_t>load[0]
    e.latency.reported.waiting = <uint32_t>load[1]
    e.latency.reported.cache = load[2]
    e.latency.reported.inflight = e.inflight
    e.latency.reported.until_ns = now + lasts


cdef bint latency_is_due(const Endpoint *e, uint64_t now) noexcept nogil:
    """True if the endpoint is idle and was not tried for long: one request shows its speed."""
    cdef double wait
    if e.inflight or e.latency.tried_ns == 0:
        return e.inflight == 0
    wait = EXPLORE_SHARE * latency_estimate(&e.latency, &e.upstream.response_length, 1)
    if wait < <double>EXPLORE_S * <double>NS_PER_S:
        wait = <double>EXPLORE_S * <double>NS_PER_S
    if wait > <double>EXPLORE_MAX_S * <double>NS_PER_S:
        wait = <double>EXPLORE_MAX_S * <double>NS_PER_S
    return now >= e.latency.tried_ns + <uint64_t>wait


# ---------------------------------------------------------------- attempts


cdef void latency_attempt_begins(Plane *p, Relay *r) noexcept nogil:
    """Start a sample, before the endpoint counts the attempt as in flight."""
    cdef Endpoint *e = r.attempt.endpoint
    if e.upstream.balance != BALANCE_FASTEST:
        r.attempt.load = 0
        return
    roll_area(e, p.now_ns)
    r.attempt.load_area = e.latency.area
    r.attempt.load = <float>(latency_load(e, p.now_ns) + 1)
    e.latency.tried_ns = p.now_ns


cdef void note_length(ResponseLength *l, bint is_streamed, uint32_t events) noexcept nogil:
    cdef double rate
    if l.n < SAMPLES:
        l.n += 1
    rate = 1.0 / l.n
    l.streamed += ((1 if is_streamed else 0) - l.streamed) * rate
    if is_streamed:
        l.events = events if l.events == 0 else l.events + (events - l.events) * rate


cdef bint is_sample(const Relay *r) noexcept nogil:
    return (
        r.attempt.ticket.result == RESULT_OK and r.attempt.load > 0 and 200 <= r.x.status < 300
        and r.x.response_body.done and r.x.head_sent and r.x.method == METHOD_POST
    )


cdef double average_load(const Attempt *a, uint64_t now) noexcept nogil:
    """Average load over the time of the attempt, which is one of them."""
    cdef double found = 0
    if now > a.began_ns:
        found = <double>(a.endpoint.latency.area - a.load_area) / <double>(now - a.began_ns)
    return found if found > 1 else 1


cdef void take_sample(Relay *r, uint64_t now) noexcept nogil:
    cdef LatencyModel *s = &r.attempt.endpoint.latency
    cdef uint64_t requested_ns = max(r.x.request_read_ns, r.attempt.sent_ns)
    cdef uint32_t events = r.x.scan.meter.n_events
    cdef bint is_streamed = (
        r.x.is_streamed and events > 1 and r.x.last_data_ns > r.x.first_content_ns
    )
    cdef double q = average_load(&r.attempt, now)
    if requested_ns == 0 or r.x.first_content_ns < requested_ns:
        return              # the answer did not wait for the whole request
    note_length(&r.x.upstream.response_length, is_streamed, events)
    if is_streamed:
        fit_add(&s.first, r.attempt.load, <double>(r.x.first_content_ns - requested_ns), now)
        fit_add(&s.gap, q, <double>(r.x.last_data_ns - r.x.first_content_ns) / (events - 1), now)
    else:
        fit_add(&s.whole, q, <double>(r.x.last_data_ns - requested_ns), now)


cdef void latency_attempt_ends(Plane *p, Relay *r) noexcept nogil:
    """Take the sample, before the endpoint's count falls; the attempt's result is final."""
    cdef LatencyModel *s = &r.attempt.endpoint.latency
    if r.attempt.endpoint.upstream.balance != BALANCE_FASTEST:
        return
    roll_area(r.attempt.endpoint, p.now_ns)
    if r.attempt.ticket.result == RESULT_FAILED or r.attempt.ticket.result == RESULT_BUSY:
        s.failures += s.failures < LOST_MAX
    elif is_sample(r):
        s.failures = 0
        take_sample(r, p.now_ns)
