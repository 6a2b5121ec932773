"""The circuit breaker: its table, and a machine of random attempts against a slow model."""

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.probes import core as probe
from zeroproxy._fast.engine.engine import IS_DEBUG

CLOSED, HALF_OPEN, OPEN = range(3)
SUCCESS, FAILURE, TRIP, DUE, CONFIRMED, OFF, LAST_ENDPOINT = range(7)
RESULT_NONE, RESULT_OK, RESULT_BUSY, RESULT_FAILED = range(4)
S = 1_000_000_000
START = 1000 * S

EXPECTED = {
    (CLOSED, SUCCESS): CLOSED, (CLOSED, FAILURE): CLOSED, (CLOSED, TRIP): OPEN,
    (CLOSED, OFF): CLOSED, (CLOSED, LAST_ENDPOINT): CLOSED,
    (OPEN, DUE): HALF_OPEN, (OPEN, OFF): CLOSED, (OPEN, LAST_ENDPOINT): CLOSED,
    (HALF_OPEN, SUCCESS): HALF_OPEN, (HALF_OPEN, CONFIRMED): CLOSED, (HALF_OPEN, TRIP): OPEN,
    (HALF_OPEN, OFF): CLOSED, (HALF_OPEN, LAST_ENDPOINT): CLOSED,
}  # fmt: skip


# ---------------------------------------------------------------- the table


@pytest.mark.parametrize("row", EXPECTED, ids=str)
def test_each_row_leads_where_it_should(row):
    assert probe.breaker_table()[row] == EXPECTED[row]
    assert probe.breaker_next(*row) == EXPECTED[row]


def test_there_are_no_other_rows():
    assert probe.breaker_table() == EXPECTED


@pytest.mark.skipif(IS_DEBUG, reason="a debug build aborts on a pair that is not in the table")
def test_what_is_not_a_row_keeps_the_endpoint_in_service():
    states, inputs = probe.N_BREAKER
    for pair in itertools.product(range(states), range(inputs)):
        if pair not in EXPECTED:
            assert probe.breaker_next(*pair) == CLOSED


# ---------------------------------------------------------------- single stories


def fail(b, times, now=START):
    for _ in range(times):
        b.end(b.begin(now), RESULT_FAILED, now)


def make(**words):
    return probe.BreakerProbe(**{"failures": 3, "window_ns": 10 * S, "open_ns": 5 * S, **words})


def test_failures_in_a_row_open_it():
    b = make()
    fail(b, 2)
    assert b.state()["state"] == CLOSED
    fail(b, 1)
    assert b.state()["state"] == OPEN
    assert b.begin(START + 5 * S - 1) is None
    assert b.begin(START + 5 * S) is not None
    assert b.state()["state"] == HALF_OPEN


def test_one_that_ends_well_begins_the_row_anew():
    b = make()
    fail(b, 2)
    b.end(b.begin(START), RESULT_OK, START)
    fail(b, 2)
    assert b.state()["state"] == CLOSED


def test_failures_further_apart_than_the_window_are_no_row():
    b = make()
    for k in range(6):
        fail(b, 1, START + k * 6 * S)
    assert b.state()["state"] == CLOSED
    b = make(window_ns=0)
    for k in range(3):
        fail(b, 1, START + k * 3600 * S)
    assert b.state()["state"] == OPEN


def test_a_share_of_failures_opens_it_once_there_are_enough():
    b = make(failures=0, error_rate=0.5, min_requests=10)
    for k in range(8):
        b.end(b.begin(START), RESULT_FAILED if k % 2 else RESULT_OK, START)
    assert b.state()["state"] == CLOSED
    for result in (RESULT_OK, RESULT_FAILED):
        b.end(b.begin(START), result, START)
    assert b.state()["state"] == OPEN


@pytest.mark.parametrize(("counts", "then"), [(False, CLOSED), (True, OPEN)])
def test_busy_counts_only_where_it_was_asked_for(counts, then):
    b = make(busy=counts)
    for _ in range(3):
        b.end(b.begin(START), RESULT_BUSY, START)
    assert b.state()["state"] == then


def test_attempts_from_before_the_opening_do_not_count():
    b = make()
    old = [b.begin(START) for _ in range(5)]
    fail(b, 3)
    for k in old[:2]:
        b.end(k, RESULT_FAILED, START)
    new = b.begin(START + 5 * S)
    for k, result in zip(old[2:], (RESULT_FAILED, RESULT_OK, RESULT_NONE), strict=True):
        b.end(k, result, START + 5 * S)
    assert b.state()["state"] == HALF_OPEN
    assert b.state()["probing"] == 1
    assert b.confirm(new)


def test_half_open_lets_exactly_the_probes_through_and_releases_a_probe():
    b = make(probes=2)
    fail(b, 3)
    first, second = b.begin(START + 5 * S), b.begin(START + 5 * S)
    assert b.begin(START + 5 * S) is None
    b.end(first, RESULT_NONE, START + 5 * S)
    third = b.begin(START + 5 * S)
    assert third is not None
    assert not b.confirm(second)
    assert b.begin(START + 5 * S) is None
    assert b.confirm(third)
    assert b.state()["state"] == CLOSED


def test_it_is_unconfirmed_until_an_attempt_has_ended_well():
    b = make()
    fail(b, 3)
    k = b.begin(START + 5 * S)
    assert b.confirm(k)
    b.end(k, RESULT_FAILED, START + 6 * S)
    assert b.state()["state"] == OPEN
    assert b.state()["due"] == START + 16 * S, "for twice as long"
    k = b.begin(START + 16 * S)
    b.confirm(k)
    b.end(k, RESULT_OK, START + 17 * S)
    fail(b, 2, START + 17 * S)
    assert b.state()["state"] == CLOSED
    fail(b, 1, START + 17 * S)
    assert b.state()["due"] == START + 22 * S, "as if nothing had been"


def test_open_grows_to_a_minute_and_no_further():
    b, now, waits = make(), START, []
    fail(b, 3)
    for _ in range(7):
        waits.append((b.state()["due"] - now) // S)
        now = b.state()["due"]
        fail(b, 1, now)
    assert waits == [5, 10, 20, 40, 60, 60, 60]


def test_one_that_was_given_longer_than_a_minute_keeps_it():
    b = make(open_ns=90 * S)
    fail(b, 3)
    fail(b, 1, START + 90 * S)
    assert b.state()["due"] == START + 180 * S


def test_off_closes_it_from_every_state():
    for story in (lambda b: None, lambda b: fail(b, 3),
                  lambda b: (fail(b, 3), b.begin(START + 5 * S))):  # fmt: skip
        b = make()
        story(b)
        b.off()
        assert b.state()["state"] == CLOSED
        assert b.state()["trips"] == 0


def test_the_last_one_stays_closed_however_often_it_fails():
    b = make()
    for _ in range(9):
        b.end(b.begin(START), RESULT_FAILED, START, is_last=True)
    assert (b.state()["state"], b.state()["transitions"]) == (CLOSED, [0, 0, 0])
    fail(b, 1)
    assert b.state()["state"] == OPEN, "another endpoint is there again"


def test_one_that_is_closed_unproven_is_unconfirmed():
    b = make()
    fail(b, 3)
    b.close_unproven()
    assert b.state()["state"] == CLOSED
    b.end(b.begin(START), RESULT_FAILED, START, is_last=True)
    assert b.state()["state"] == CLOSED
    fail(b, 1)
    assert b.state()["state"] == OPEN


# ---------------------------------------------------------------- a slow model


class Model:
    """The same in plain Python: every ended attempt is kept with its time."""

    def __init__(self, failures, rate, least, probes, window, open_for):
        self.failures, self.rate, self.least = failures, rate, least
        self.probes, self.window, self.open_for = probes, window, open_for
        self.state, self.epoch, self.due, self.trips = CLOSED, 0, 0, 0
        self.is_unconfirmed = False
        self.ended: list[tuple[int, bool]] = []
        self.row = 0
        self.attempts: dict[int, dict] = {}
        self.n_confirmed = 0

    def probing(self):
        return sum(a["probe"] and a["epoch"] == self.epoch for a in self.attempts.values())

    def admits(self, now):
        if self.state == OPEN:
            return now >= self.due
        return self.state == CLOSED or self.probing() + self.n_confirmed < self.probes

    def begin(self, k, now):
        if self.state == OPEN:
            self.state, self.n_confirmed = HALF_OPEN, 0
        self.attempts[k] = {"epoch": self.epoch, "probe": self.state == HALF_OPEN}

    def confirm(self, k):
        a = self.attempts[k]
        was_probe, a["probe"] = a["probe"], False
        if not was_probe or a["epoch"] != self.epoch or self.state != HALF_OPEN:
            return False
        self.n_confirmed += 1
        if self.n_confirmed < self.probes:
            return False
        self.state, self.is_unconfirmed, self.ended, self.row = CLOSED, True, [], 0
        return True

    def close_unproven(self):
        if self.state != CLOSED:
            self.state, self.n_confirmed, self.is_unconfirmed = CLOSED, 0, True
            self.ended, self.row = [], 0

    def end(self, k, result, now, is_last=False):
        a = self.attempts.pop(k)
        if a["epoch"] != self.epoch or not (self.failures or self.rate):
            return
        if result == RESULT_OK:
            self.ended.append((now, True))
            self.row, self.trips, self.is_unconfirmed = 0, 0, False
        elif result == RESULT_FAILED:
            self.ended.append((now, False))
            self.row += 1
            if self.state == HALF_OPEN or self.is_unconfirmed or self.is_too_much(now):
                self.close_unproven() if is_last else self.open(now)

    def is_too_much(self, now):
        width = self.window // probe.SLOTS
        recent = [ok for at, ok in self.ended
                  if not width or at // width > now // width - probe.SLOTS]  # fmt: skip
        failed = recent.count(False)
        if (
            self.failures
            and self.row >= self.failures
            and (not self.window or failed >= self.failures)
        ):
            return True
        return bool(
            self.rate and self.window and len(recent) >= self.least
            and failed >= len(recent) * self.rate
        )  # fmt: skip

    def open(self, now):
        wait = self.open_for
        for _ in range(self.trips):
            wait = max(wait, min(2 * wait, 60 * S))
        self.state, self.due = OPEN, now + wait
        self.trips += 1
        self.epoch += 1
        self.is_unconfirmed, self.ended, self.row, self.n_confirmed = False, [], 0, 0


class Machine(RuleBasedStateMachine):
    @initialize(
        failures=st.integers(0, 4), rate=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
        least=st.integers(1, 6), probes=st.integers(1, 3),
        window=st.sampled_from([0, 4 * S, 10 * S]), open_for=st.integers(1, 70),
    )  # fmt: skip
    def set_up(self, failures, rate, least, probes, window, open_for):
        self.model = Model(failures, rate, least, probes, window, open_for * S)
        self.real = probe.BreakerProbe(
            failures=failures, error_rate=rate, min_requests=least, probes=probes,
            window_ns=window, open_ns=open_for * S,
        )  # fmt: skip
        self.now = START

    @rule()
    def an_attempt_begins(self):
        if len(self.model.attempts) > 100:
            return
        admitted = self.model.admits(self.now)
        k = self.real.begin(self.now)
        assert (k is not None) == admitted
        if admitted:
            self.model.begin(k, self.now)

    @rule(which=st.integers(0, 99))
    def an_answer_begins(self, which):
        if self.model.attempts:
            k = sorted(self.model.attempts)[which % len(self.model.attempts)]
            assert self.real.confirm(k) == self.model.confirm(k)

    @rule(which=st.integers(0, 99),
          result=st.sampled_from([*range(4), RESULT_FAILED, RESULT_FAILED]),
          is_last=st.sampled_from([False, False, True]))  # fmt: skip
    def an_attempt_ends(self, which, result, is_last):
        if self.model.attempts:
            k = sorted(self.model.attempts)[which % len(self.model.attempts)]
            self.real.end(k, result, self.now, is_last)
            self.model.end(k, result, self.now, is_last)

    @rule()
    def the_others_go(self):
        self.real.close_unproven()
        self.model.close_unproven()

    @rule(seconds=st.floats(0.01, 30))
    def time_passes(self, seconds):
        self.now += int(seconds * S)

    @rule()
    def it_becomes_due(self):
        self.now = max(self.now, self.model.due)

    @invariant()
    def both_agree(self):
        if hasattr(self, "model"):
            found = self.real.state()
            assert found["state"] == self.model.state
            if self.model.state == OPEN:
                assert found["due"] == self.model.due
            if self.model.state == HALF_OPEN:
                assert found["probing"] == self.model.probing()
                assert found["probing"] + found["confirmed"] <= self.model.probes


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)
