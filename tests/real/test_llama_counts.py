"""Tokens of a real llama.cpp: the ledger has the server's counts. It reports them in `timings`
without a request, so the proxy makes none, and its answers are not touched."""

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.real_mix import (
    CHAT,
    COMPLETIONS,
    MESSAGES,
    RESPONSES,
    WORDS,
    Ask,
    Callers,
    count_in,
    raw,
    rows,
    seen,
)
from tests.support.tap import Tap

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

USAGE = {"stream_options": {"include_usage": True}}
STREAM = {"stream": True}
SHAPES = [
    (CHAT, {}),
    (CHAT, STREAM),
    (CHAT, STREAM | USAGE),
    (CHAT, STREAM | {"stream_options": {"include_usage": False}}),
    (CHAT, STREAM | {"n": 2}),
    (CHAT, STREAM | USAGE | {"n": 3}),
    (CHAT, STREAM | {"stop": ["e"], "max_tokens": 6}),
    (CHAT, STREAM | {"timings_per_token": True}),
    (COMPLETIONS, {}),
    (COMPLETIONS, STREAM),
    (COMPLETIONS, STREAM | USAGE),
    (COMPLETIONS, STREAM | {"n": 2}),
    (MESSAGES, {}),
    (MESSAGES, STREAM),
    (RESPONSES, {}),
    (RESPONSES, STREAM),
]


def ask_of(name, shape, k=0, **more):
    path, extra = shape
    words = WORDS[k % len(WORDS)]
    body = {"model": "smollm2", "temperature": 0, "seed": 7}
    if path == RESPONSES:
        return Ask(name, path, body | {"input": words, "max_output_tokens": 1 + k % 4} | extra)
    body["max_tokens"] = 1 + k % 4
    prompt = {"messages": [{"role": "user", "content": words}]}
    if path == COMPLETIONS:
        prompt = {"prompt": words}
    return Ask(name, path, body | prompt | extra | more)


@pytest.fixture
def tapped(llama):
    """(proxy, tap between it and the server), with the server known for what it is"""
    with Tap(llama) as tap, ProxyProcess(upstream_toml(tap.url)) as proxy:
        proxy.until(lambda s: s["servers"].get(tap.url) == "llamacpp")
        yield proxy, tap
        proxy.until_quiet()


def test_two_hundred_mixed_requests_have_the_servers_own_counts_in_the_ledger(llama, tapped):
    proxy, _ = tapped
    kinds = itertools.cycle(SHAPES)
    asks = [ask_of(f"mix-{k}", next(kinds), k) for k in range(200)]
    with Callers(proxy.url) as callers, ThreadPoolExecutor(4) as pool:
        told = dict(zip((a.name for a in asks), pool.map(callers.counted, asks), strict=True))
    with Callers(llama) as direct:
        for ask in asks:
            if told[ask.name] is None:
                told[ask.name] = direct.counted(ask.with_body(**USAGE))
    found = rows(proxy, set(told))
    counted = {name: (*count_in(row), row["exactness"]) for name, row in found.items()}
    assert counted == {name: (*count, "exact") for name, count in told.items()}


@pytest.mark.parametrize(
    "shape", [(CHAT, {"n": 2}), (COMPLETIONS, {"n": 2}), (COMPLETIONS, {"prompt": ["a b", "c"]})]
)
def test_a_whole_answer_of_several_choices_is_said_not_to_be_trusted(tapped, shape):
    # The server reports the usage of the first choice only.
    proxy, _ = tapped
    with Callers(proxy.url) as callers:
        count = callers.counted(ask_of("several", shape, 3))
    (row,) = rows(proxy, {"several"}).values()
    assert (*count_in(row), row["exactness"]) == (*count, "untrusted")


def texts_in(events):
    """Events that hold at least one token."""
    choices = [c for e in events for c in e["choices"]]
    return sum(bool(c.get("text") or c.get("delta", {}).get("content")) for c in choices)


def abort_behind(proxy, tap, ask, n_events):
    """Counts of the server when the caller left, and counts in the ledger."""
    tap.hold_behind = n_events
    with Callers(proxy.url) as callers, callers.send(ask) as events:
        assert len(list(itertools.islice(events, n_events))) == n_events
    (row,) = rows(proxy, {ask.name}).values()
    return tap.answers[ask.name].events(), row


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("n_events", [2, 5, 17])
def test_an_aborted_answer_is_exact_for_timings_were_asked_for(tapped, path, n_events):
    proxy, tap = tapped
    ask = ask_of("cut", (path, STREAM), max_tokens=60, ignore_eos=True)
    events, row = abort_behind(proxy, tap, ask, n_events)
    assert (row["exactness"], row["finish"]) == ("exact", "cut")
    timings = events[-1]["timings"]
    assert 0 < row["completion_tokens"] == timings["predicted_n"] <= 60
    assert row["prompt_tokens"] == timings["cache_n"] + timings["prompt_n"]


def test_an_aborted_answer_with_timings_of_every_token_is_exact(tapped):
    proxy, tap = tapped
    more = {"timings_per_token": True, "ignore_eos": True}
    ask = ask_of("cut", (CHAT, STREAM), max_tokens=60, **more)
    events, row = abort_behind(proxy, tap, ask, 9)
    timings = events[-1]["timings"]
    assert row["completion_tokens"] == timings["predicted_n"]
    assert row["prompt_tokens"] == timings["cache_n"] + timings["prompt_n"]
    assert row["exactness"] == "exact"


@pytest.mark.parametrize("options", [{}, USAGE])
def test_an_abort_behind_the_end_of_one_of_two_choices_counts_what_was_seen(llama, tapped, options):
    proxy, tap = tapped
    ask = ask_of("first", (CHAT, STREAM | options), max_tokens=4, n=2, ignore_eos=True)
    whole = raw(llama, ask).decode().split("\n\n")
    n_events = 1 + next(k for k, event in enumerate(whole) if '"timings"' in event)
    events, row = abort_behind(proxy, tap, ask, n_events)
    if not any("timings" in e for e in events):
        pytest.skip("NOT TESTED: the choices took turns in another order this time")
    assert row["exactness"] == ("lower_bound" if options else "exact")
    assert 4 <= row["completion_tokens"] <= texts_in(events) <= 8


def told(body: bytes) -> list[Any]:
    """The JSON of every event."""
    lines = [line.removeprefix("data: ") for line in body.decode().splitlines()]
    return [json.loads(line) for line in lines if line.startswith("{")]


def untimed(events: list[Any]) -> list[Any]:
    """Without the timings that were asked for on the caller's behalf: beside choices that go on."""
    for event in events:
        choices = event.get("choices")
        if choices and not any(choice["finish_reason"] for choice in choices):
            event.pop("timings", None)
    return events


@pytest.mark.parametrize("k", range(len(SHAPES)))
def test_the_answer_is_what_it_would_have_been(llama, tapped, k):
    proxy, tap = tapped
    ask = ask_of(f"same-{k}", SHAPES[k], k, max_tokens=6)
    if ask.path == RESPONSES:
        ask = ask_of(f"same-{k}", SHAPES[k], k)
    raw(llama, ask)  # from here on the prompt is in the server's cache
    through = raw(proxy.url, ask)
    assert b"\r\n\r\n" in tap.answers[ask.name].request
    assert b"continuous_usage_stats" not in tap.answers[ask.name].request
    if ask.streams:
        sent = told(tap.answers[ask.name].body())
        is_ours = "timings_per_token" not in SHAPES[k][1]
        assert told(through) == (untimed(sent) if is_ours else sent)
    assert seen(through) == seen(raw(llama, ask))


def test_timings_stay_where_the_caller_expects_them(tapped):
    proxy, _ = tapped
    assert b'"timings":{' in raw(proxy.url, ask_of("timed", (CHAT, STREAM), 3)).split(b"\n\n")[-3]
