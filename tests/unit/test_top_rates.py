"""Rates and percentiles of `zeroproxy top`."""

import pytest

from zeroproxy.commands.status_table import span
from zeroproxy.commands.top_rates import Change, duration, quantile

BOUNDS = [1_000_000, 2_000_000, 4_000_000]


@pytest.mark.parametrize(
    ("counts", "share", "seconds"),
    [
        ([0, 0, 0, 0], 0.5, None),
        ([2, 0, 0, 0], 0.5, 0.0005),
        ([0, 4, 0, 0], 0.25, 0.00125),
        ([0, 4, 0, 0], 1.0, 0.002),
        ([1, 0, 1, 0], 0.5, 0.001),
        ([1, 0, 1, 0], 0.75, 0.003),
        ([0, 0, 0, 5], 0.5, 0.004),
        ([99, 0, 0, 1], 0.99, 0.001),
    ],
)  # fmt: skip
def test_a_percentile_is_spread_evenly_within_its_bucket(counts, share, seconds):
    assert quantile(counts, BOUNDS, share) == (None if seconds is None else pytest.approx(seconds))


def status(uptime, requests=(), tokens=(), counts=(0, 0, 0, 0)):
    return {
        "uptime_s": uptime,
        "bounds_ns": BOUNDS,
        "requests": [
            {"upstream": "u", "endpoint": e, "status": s, "outcome": o, "count": n}
            for e, s, o, n in requests
        ],
        "tokens": [
            {"upstream": "u", "model": m, "tenant": t, "prompt": p, "completion": c}
            for m, t, p, c in tokens
        ],
        "upstreams": [{"name": "u", "histograms": {"ttft": {"counts": list(counts)}}}],
    }


OLD = status(10, [("a", 200, "ok", 100), ("a", 500, "ok", 3), ("b", 502, "upstream", 1)],
             [("m", "t", 10, 20)], (1, 0, 0, 0))  # fmt: skip
NEW = status(12, [("a", 200, "ok", 120), ("a", 500, "ok", 5), ("b", 502, "upstream", 4)],
             [("m", "t", 30, 80), ("n", "", 0, 10)], (1, 4, 0, 0))  # fmt: skip


def test_rates_are_those_between_the_two_looks():
    change = Change(OLD, NEW, 2.0)
    assert change.request_rate() == 12.5
    assert change.request_rate("u", "a") == 11.0
    assert change.request_rate("u", "a", is_failed=True) == 1.0
    assert change.request_rate(is_failed=True) == 2.5
    assert (change.token_rate("prompt"), change.token_rate("completion")) == (10.0, 35.0)
    assert change.quantile(0, "ttft", 1.0) == pytest.approx(0.002)


def test_models_are_ordered_by_what_they_do_now():
    rows = Change(OLD, NEW, 2.0).models()
    assert [(r.model, r.prompt_rate, r.completion_rate, r.prompt, r.completion) for r in rows] == [
        ("m", 10.0, 30.0, 30, 80), ("n", 0.0, 5.0, 0, 10),
    ]  # fmt: skip


def test_an_answer_of_500_is_a_failure_though_the_exchange_went_its_way():
    assert Change(OLD, NEW, 2.0).outcomes() == [("status 500", 5), ("upstream", 4)]


def test_a_process_that_was_started_anew_has_no_past():
    again = status(1, [("a", 200, "ok", 4)], [("m", "t", 2, 2)], (0, 2, 0, 0))
    change = Change(NEW, again, 2.0)
    assert (change.request_rate(), change.token_rate("prompt")) == (2.0, 1.0)
    assert change.quantile(0, "ttft", 1.0) == pytest.approx(0.002)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3661, "1 h 1 min"), (90061, "1 d 1 h")],
)
def test_a_span_has_two_units(seconds, shown):
    assert span(seconds) == shown


def test_durations_are_milliseconds_below_a_second():
    assert [duration(x) for x in (None, 0.0123, 1.5)] == ["–", "12.3 ms", "1.50 s"]
