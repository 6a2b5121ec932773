"""A whole engine between callers and an endpoint, on real sockets, with faults.

An input is four bytes of choices, then steps of two bytes: a step's kind and detail (script.c). The
clock is the script's. In the end no peer sends any more: deadlines alone must end every exchange.
Then nothing is lent out, and every request that reached the endpoint has left one record.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memset

from fuzz.pieces cimport demand

from collections import Counter

from zeroproxy._fast.engine.engine import Engine
from zeroproxy._fast.engine.enum_names import BALANCES, USAGE_REQUESTS
from zeroproxy._fast.engine.settings_types import EndpointSettings, UpstreamSettings
from zeroproxy._fast.engine.thread import MORE
from zeroproxy.config.schema import (
    Admission,
    Breaker,
    Cors,
    Hash,
    Hedge,
    Limits,
    Pool,
    Retry,
    Timeouts,
)


cdef extern from "faults.h" nogil:
    pass


cdef extern from "script.h" nogil:
    enum:
        TAGS
    ctypedef struct World:
        int up_fd
        int down_fd
        int up_size
        int n_tags
        char up_name[128]
        uint8_t reached[64]
    int world_begin(World *w)
    void world_end(World *w)
    void world_step(World *w, uint8_t what, uint8_t how)
    void world_read_all(World *w)


cdef extern from *:
    """
    void faults_clock(void);
    void faults_begin(uint64_t seed, unsigned rate);
    void faults_end(void);
    uint64_t faults_due(void);
    uint64_t faults_now(void);
    void faults_advance(uint64_t ns);
    """
    void faults_clock() noexcept nogil
    void faults_begin(uint64_t seed, unsigned int rate) noexcept nogil
    void faults_end() noexcept nogil
    uint64_t faults_due() noexcept nogil
    uint64_t faults_now() noexcept nogil
    void faults_advance(uint64_t ns) noexcept nogil


cdef enum:
    CHOICES = 4
    STEPS = 256             # of an input; the rest is ignored
    DEADLINES = 4096        # deadlines until everything must have ended
    CRANKS = 256
    FAULTS = 10             # in a thousand calls
    ADVANCE_CLOCK = 13

LIMITS = Limits(
    header_line_bytes=1024, header_bytes=2048, header_count=16, body_bytes=400, connections=3,
    interim_responses=2, chunk_extra_bytes=256, body_min_rate=100,
)
BREAKER = Breaker(failures=3, open_for=1.0, slow_start=0.0)
NO_BREAKER = Breaker(failures=0, slow_start=0.0)
CORS = Cors(origins=("https://a.test",))
NO_HASH, HASH = Hash(on=()), Hash(on=("user", "prompt"), prefix_bytes=16)
ZERO = ("relays", "upstream_conns", "permits", "block_bytes", "watches", "timers", "bugs")

cdef World world
memset(&world, 0, sizeof(world))


cdef make_engine(uint8_t a, uint8_t b):
    """Make an engine, after the clock stands. To the script several endpoints are the same."""
    pool = Pool(max_idle=4, max_connections=1 if a & 1 else 0, prewarm=2 if a & 2 else 0)
    settings = UpstreamSettings(
        balance=BALANCES[(b >> 2) % len(BALANCES)],
        hash=HASH if b & 128 else NO_HASH,
        admission=Admission(
            max_inflight=1 if a & 4 else 0, queue=2, ttft_target=0.1 if a & 32 else 0.0
        ),
        timeouts=Timeouts(),
        retry=Retry(attempts=3, on_busy=True),
        hedge=Hedge(after=0.5, budget=1.0) if a & 16 else Hedge(budget=0.0),
        breaker=BREAKER if a & 8 else NO_BREAKER,
        api_key="", cookies=False,
    )
    engine = Engine(limits=LIMITS, ring_slots=128)
    endpoints = [
        EndpointSettings(
            url=f"http://up{k}", sockaddr=world.up_name[:world.up_size], authority=b"up.test",
            weight=1 + k, pool=pool,
        )
        for k in range(1 + (a >> 6 & 1))
    ]
    engine.add_upstream("up", settings=settings, endpoints=endpoints)
    for k, _ in enumerate(endpoints):
        engine.set_endpoint(k, usage_request=USAGE_REQUESTS[b & 3])
    if a & 128:
        engine.set_cors(CORS)
    engine.listen(world.down_fd, is_unix=True)
    return engine


cdef crank(engine):
    for _ in range(CRANKS):
        if not engine.on_ready() & MORE:
            return
    demand(False)


cdef play(engine, const uint8_t *data, size_t size):
    cdef size_t i
    cdef uint8_t what
    for i in range(0, min(size, STEPS * 2) - 1, 2):
        what = data[i] & 15
        if what == ADVANCE_CLOCK:
            faults_advance(<uint64_t>1000000 << (data[i + 1] & 15))
        else:
            world_step(&world, data[i], data[i + 1])
        if what < ADVANCE_CLOCK or data[i] < 0x80:
            crank(engine)


cdef run_out(engine):
    """Let open exchanges end by their deadlines: no peer moves."""
    for _ in range(DEADLINES):
        crank(engine)
        crank(engine)
        if engine.busy() == 0:
            return
        demand(faults_due() != 0)
        faults_advance(faults_due() - faults_now() + 1)
    demand(False)


cdef check_records(list records):
    cdef int i
    counts = Counter(r["path"].partition("~")[2][:2] for r in records)
    for i in range(world.n_tags):
        demand(counts[f"{i:02x}"] <= 1)
        demand(not world.reached[i] or counts[f"{i:02x}"] == 1)


cdef int engine(const uint8_t *data, size_t size) except *:
    if size < CHOICES + 2:
        return -1
    if world_begin(&world) < 0:
        raise OSError("no sockets")
    faults_clock()
    plane = make_engine(data[0], data[1])
    if data[0] & 0x80:
        faults_begin((data[2] << 8 | data[3]) * <uint64_t>0x9E3779B97F4A7C15, FAULTS)
    play(plane, data + CHOICES, size - CHOICES)
    faults_end()
    run_out(plane)
    world_read_all(&world)
    records = plane.records(1000)
    plane.close()
    left = plane.snapshot()["counters"]
    if any(left[name] for name in ZERO):
        print(left)
        demand(False)
    check_records(records)
    world_end(&world)
    return 0


cdef int enter(const uint8_t *data, size_t size) noexcept:
    try:
        return engine(data, size)
    except BaseException as error:
        import traceback
        traceback.print_exception(error)
        demand(False)


TARGETS = {"engine": <size_t>&enter}
