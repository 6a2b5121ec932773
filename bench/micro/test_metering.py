"""Counting tokens in event streams, with JSON parsers beside it.

`zeroproxy` is the meter's usual event, which it knows by its hash; `zeroproxy, walked` one that
differs from the one before in more than its text. The parsers only parse; they count nothing."""

import json
from collections.abc import Callable

import orjson
import pytest
from tests.probes.usage import MeterProbe, feed_many

from bench.micro.samples import EVENTS, WITH_USAGE

N = 2000


def by_parser(loads: Callable[[bytes], object], events: list[bytes]) -> Callable[[], None]:
    def loop() -> None:
        for one in events:
            loads(one[6:-2])

    return loop


def by_meter(events: list[bytes]) -> Callable[[], None]:
    """In reads of one event, each another one; a call from Python per event is in it."""

    def loop() -> None:
        meter = MeterProbe("events")
        for one in events:
            meter.feed(one)

    return loop


@pytest.mark.parametrize("who", ["zeroproxy", "zeroproxy, called from Python", "orjson", "json"])
def test_events(cost: Callable[..., None], who: str) -> None:
    """SSE event metered"""
    if who == "zeroproxy":
        cost(who, lambda: feed_many(EVENTS[0], N), N)
    elif who == "zeroproxy, called from Python":
        cost(who, by_meter(EVENTS), len(EVENTS))
    else:
        cost(who, by_parser({"orjson": orjson, "json": json}[who].loads, EVENTS), len(EVENTS))


@pytest.mark.parametrize("who", ["zeroproxy", "orjson", "json"])
def test_kilobytes(cost: Callable[..., None], who: str) -> None:
    """KB of SSE metered, 16 events a read"""
    block = EVENTS[0] * 16
    kb = len(block) / 1024
    if who == "zeroproxy":
        cost(who, lambda: feed_many(block, N // 16), N // 16 * kb)
    else:
        loads = {"orjson": orjson, "json": json}[who].loads
        cost(who, by_parser(loads, [EVENTS[0]] * 16), kb)


@pytest.mark.parametrize("who", ["zeroproxy", "orjson", "json"])
def test_events_with_usage(cost: Callable[..., None], who: str) -> None:
    """SSE event with running usage metered"""
    if who == "zeroproxy":
        cost(who, lambda: feed_many(b"".join(WITH_USAGE), N // 64), N // 64 * 64)
    else:
        loads = {"orjson": orjson, "json": json}[who].loads
        cost(who, by_parser(loads, WITH_USAGE), len(WITH_USAGE))
