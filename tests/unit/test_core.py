"""Buffers, ring, wheel, histogram, the exchange table and the law of retries."""

import itertools
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.probes import core as probe
from zeroproxy._fast.engine.engine import IS_DEBUG

PHASES = [
    "idle", "head", "pending", "queued", "connecting", "waiting", "relaying", "tunnel", "flushing",
    "lingering", "closed",
]  # fmt: skip
CLOSED = PHASES.index("closed")


# ---------------------------------------------------------------- the exchange table


def test_the_compiled_table_is_the_dict():
    for (phase, what), (to, action) in probe.table().items():
        assert probe.step(phase, what) == (to, action)


@pytest.mark.skipif(IS_DEBUG, reason="a debug build aborts on a pair that is not in the table")
def test_every_other_pair_is_a_bug_that_closes():
    legal = probe.table()
    for pair in itertools.product(range(probe.N_PHASES), range(probe.N_INPUTS)):
        if pair not in legal:
            assert probe.step(*pair) == (CLOSED, probe.BUG)


def test_every_phase_but_closed_can_end():
    ways = {phase: set() for phase in range(probe.N_PHASES)}
    for (phase, _), (to, _) in probe.table().items():
        ways[phase].add(to)
    for start in range(probe.N_PHASES):
        reached, todo = set(), [start]
        while todo:
            phase = todo.pop()
            if phase not in reached:
                reached.add(phase)
                todo.extend(ways[phase])
        assert CLOSED in reached, PHASES[start]
    assert not ways[CLOSED], "closed absorbs nothing"


def test_once_relaying_there_is_no_way_back_to_connecting():
    relaying, connecting, idle = (PHASES.index(n) for n in ("relaying", "connecting", "idle"))
    reached, todo = set(), [relaying]
    while todo:
        phase = todo.pop()
        for (source, _), (to, _) in probe.table().items():
            if source == phase and to not in reached and to != idle:
                reached.add(to)
                todo.append(to)
    assert connecting not in reached


def test_every_phase_can_be_left_by_a_caller_who_goes():
    gone = probe.N_INPUTS - 1
    assert {phase for phase, what in probe.table() if what == gone} == set(range(CLOSED))


def test_the_map_shows_every_row_of_the_table():
    from pathlib import Path

    text = Path("ARCHITECTURE.md").read_text() if Path("ARCHITECTURE.md").exists() else None
    if text is None:
        pytest.skip("this build has no ARCHITECTURE.md beside it")
    for (phase, _), (to, _) in probe.table().items():
        (row,) = [
            line for line in text.splitlines() if line.startswith(f"| {PHASES[phase].upper()} |")
        ]
        assert PHASES[to].upper() in row


# ---------------------------------------------------------------- retries


RACE = {"reused": True, "is_race": True}


@pytest.mark.parametrize(
    ("facts", "legal"),
    [
        ({"connected": False}, True),
        ({"connected": False, "timed_out": True}, True),
        ({"reused": True}, False),
        ({"reused": True, "is_race": True}, True),
        ({"reused": True, "is_idempotent": True}, True),
        ({"reused": False, "is_idempotent": True}, False),
        ({**RACE, "timed_out": True}, False),
        ({**RACE, "got_byte": True}, False),
        ({**RACE, "head_sent": True}, False),
        ({**RACE, "replayable": False}, False),
        ({**RACE, "tried": 2}, False),
        ({"reused": False}, False),
        ({"busy": True, "got_byte": True}, True),
        ({"busy": True, "head_sent": True}, False),
        ({"busy": True, "replayable": False}, False),
    ],
)
def test_the_law_of_retries(facts, legal):
    assert probe.retry_is_legal(**facts) is legal


def test_a_request_that_may_have_begun_is_never_sent_twice():
    names = (
        "head_sent", "got_byte", "replayable", "connected", "reused", "busy", "timed_out",
        "is_race", "is_idempotent",
    )  # fmt: skip
    for values in itertools.product((False, True), repeat=len(names)):
        facts = dict(zip(names, values, strict=True))
        if probe.retry_is_legal(**facts):
            assert not facts["head_sent"]
            assert facts["replayable"]
            assert not facts["connected"] or facts["busy"] or (
                facts["reused"]
                and not facts["got_byte"]
                and (facts["is_race"] or facts["is_idempotent"])
            )  # fmt: skip


# ---------------------------------------------------------------- buffers


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30_000)), max_size=40))
def test_a_buffer_is_a_queue_of_bytes(steps):
    b, model, k = probe.BufferProbe(), b"", 0
    for is_append, n in steps:
        if is_append:
            data = bytes((k + j) & 255 for j in range(n))
            k += n
            if b.append(data):
                model += data
            else:
                assert len(model) + n > 67584
        elif model:
            n = min(n, len(model))
            b.consume(n)
            model = model[n:]
        at, end, cap, lent = b.state()
        assert 0 <= at <= end <= cap == lent
        assert b.content() == model
    b.consume(len(model)) if model else None
    assert b.state() == (0, 0, 0, 0)


def test_what_does_not_fit_changes_nothing():
    b = probe.BufferProbe()
    assert b.append(b"x" * 60_000)
    assert not b.append(b"y" * 8_000)
    assert b.content() == b"x" * 60_000


# ---------------------------------------------------------------- ring


def test_a_ring_is_a_bounded_queue():
    ring = probe.RingProbe(4)
    assert [ring.push(k) for k in range(5)] == [True] * 4 + [False]
    assert ring.overflow() == 1
    assert [ring.pop() for _ in range(5)] == [0, 1, 2, 3, None]
    for k in range(100):
        assert ring.push(k)
        assert ring.pop() == k


def test_two_threads_lose_nothing_and_keep_the_order():
    ring, n = probe.RingProbe(8), 200_000
    producer = threading.Thread(target=ring.push_many, args=(1, n))
    producer.start()
    expected = 1
    while expected <= n:
        serial = ring.pop()
        if serial is not None:
            assert serial == expected
            expected += 1
    producer.join()
    assert ring.pop() is None


@pytest.mark.parametrize("enough", [1, 3, 100])
def test_a_consumer_that_sleeps_is_woken_for_every_record(enough):
    """A wake that got lost would leave it asleep for good: the producer waits for a free place."""
    ring, n = probe.RingProbe(8), 30_000
    producer = threading.Thread(target=ring.push_many, args=(1, n))
    producer.start()
    expected = 1
    while expected <= n:
        ring.wait(min(enough, n - expected + 1), 10**18)
        while (serial := ring.pop()) is not None:
            assert serial == expected
            expected += 1
    producer.join()


def test_a_sleep_ends_when_it_is_over_or_somebody_says_so():
    ring, ended = probe.RingProbe(8), threading.Event()
    ring.wait(1, 1000)  # nobody comes: it returns by itself
    ring.wake()
    ring.wait(1, 10**18)  # it was woken before it slept

    def sleep():
        ring.wait(1, 10**18)
        ended.set()

    sleeper = threading.Thread(target=sleep)
    sleeper.start()
    assert not ended.wait(0.05)
    ring.wake()
    sleeper.join()
    assert ended.is_set()


# ---------------------------------------------------------------- wheel

TICK = 1 << 24
START = 1_000_000 * TICK


@given(
    st.lists(st.tuples(st.integers(0, 9000 * TICK), st.booleans()), min_size=1, max_size=30),
    st.lists(st.integers(1, 3000 * TICK), min_size=1, max_size=30),
)
def test_timers_fire_once_never_early_and_at_most_a_tick_late(timers, turns):
    wheel, log = probe.WheelProbe(START), []
    probes = [probe.TimerProbe(log, k) for k in range(len(timers))]
    for timer, (delay, _) in zip(probes, timers, strict=True):
        wheel.arm(timer, START + delay)
    for timer, (_, is_dropped) in zip(probes, timers, strict=True):
        if is_dropped:
            wheel.disarm(timer)
    now = START
    for turn in turns:
        now += turn
        wheel.advance_to(now)
        for k, (delay, is_dropped) in enumerate(timers):
            due = START + delay
            if is_dropped or due > now:
                assert k not in log, "early"
            elif due + 2 * TICK <= now:
                assert log.count(k) == 1, "late"
    assert len(log) == len(set(log))


def test_an_empty_wheel_asks_for_no_wake_up():
    wheel, log = probe.WheelProbe(START), []
    assert wheel.next_wake() == 0
    timer = probe.TimerProbe(log, "a")
    wheel.arm(timer, START + 5 * TICK)
    assert wheel.next_wake() == START + 6 * TICK
    wheel.advance_to(START + 6 * TICK)
    assert log == ["a"]
    assert wheel.next_wake() == 0
    assert wheel.armed() == 0


def test_no_later_moves_a_timer_only_forward():
    wheel, log = probe.WheelProbe(START), []
    timer = probe.TimerProbe(log, "a")
    wheel.no_later(timer, START + 10 * TICK)
    wheel.no_later(timer, START + 50 * TICK)
    assert timer.due() == START + 10 * TICK
    wheel.no_later(timer, START + 2 * TICK)
    assert timer.due() == START + 2 * TICK
    wheel.no_later(timer, 0)
    assert timer.due() == START + 2 * TICK
    wheel.disarm(timer)


# ---------------------------------------------------------------- histogram and sizes


@given(st.lists(st.integers(0, 10**14), max_size=50))
def test_a_value_is_counted_in_the_first_bucket_that_holds_it(values):
    counts, total, n = probe.histogram(values)
    assert (sum(counts), total, n) == (len(values), sum(values), len(values))
    bounds = [0, *probe.bounds()]
    for k, count in enumerate(counts[:-1]):
        assert count == sum((bounds[k] < v <= bounds[k + 1]) or (k == 0 and v == 0) for v in values)


def test_bounds_grow():
    assert probe.bounds() == sorted(set(probe.bounds()))


def test_an_open_response_fits_the_stated_memory():
    assert probe.SIZES["relay"] + probe.SIZES["conn"] <= 2304


def test_an_event_touches_few_lines_of_memory():
    """With many streams each line comes from far away: what an event needs lies together."""
    of_conn, of_relay = probe.hot_lines()
    assert of_conn == [0]
    assert len(of_relay) <= 4


# ---------------------------------------------------------------- how long a conn may rest


def test_a_rest_that_was_ended_shortens_the_next_ones_to_its_safe_share():
    keepalive = probe.KeepaliveProbe(idle_timeout=60.0)
    keepalive.closed_after(5.0, now=100.0)
    assert keepalive.limit() == pytest.approx(3.0)
    keepalive.closed_after(20.0, now=101.0)
    assert keepalive.limit() == pytest.approx(3.0), "the shortest counts"
    keepalive.closed_after(0.01, now=102.0)
    assert keepalive.limit() == 0.5, "never less"


def test_what_was_seen_is_doubted_slowly_and_at_last_forgotten():
    keepalive = probe.KeepaliveProbe(idle_timeout=3.0)
    keepalive.closed_after(2.0, now=100.0)
    keepalive.idle_until(159.0)
    assert keepalive.limit() == pytest.approx(1.2)
    keepalive.idle_until(160.0)
    keepalive.idle_until(161.0)
    assert keepalive.limit() == pytest.approx(1.35), "one step a minute"
    for minute in range(10):
        keepalive.idle_until(220.0 + 60 * minute)
    assert keepalive.limit() == 3.0


def test_a_close_begins_the_doubt_anew():
    keepalive = probe.KeepaliveProbe(idle_timeout=0.0)
    keepalive.closed_after(10.0, now=100.0)
    keepalive.closed_after(10.0, now=150.0)
    keepalive.idle_until(170.0)
    assert keepalive.limit() == pytest.approx(6.0)
