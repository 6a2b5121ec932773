"""Tokens of a real vLLM: the ledger has the server's counts, and no caller sees usage it did
not request. By hand: see docs/real-servers.md."""

import itertools
import json
import re
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

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
    served,
    stripped,
    usages,
    wants,
)
from tests.support.tap import Tap

pytestmark = [pytest.mark.real, pytest.mark.vllm, pytest.mark.timeout(1200)]

USAGE = {"stream_options": {"include_usage": True}}
RUNNING = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
STREAM = {"stream": True}
WARM = {"temperature": 0.9}
CITY = {"type": "object", "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
CALL = {
    "tools": [TOOL],
    "tool_choice": {"type": "function", "function": {"name": "weather"}},
    "max_tokens": 24,
}
#: Parts of requests, beside a prompt.
SHAPES = [
    (CHAT, {}),
    (CHAT, STREAM),
    (CHAT, STREAM | USAGE),
    (CHAT, STREAM | RUNNING),
    (CHAT, WARM | {"n": 3}),
    (CHAT, STREAM | WARM | {"n": 2}),
    (CHAT, STREAM | USAGE | WARM | {"n": 4}),
    (CHAT, STREAM | {"stop": ["e", "("], "max_tokens": 24}),
    (CHAT, STREAM | {"logprobs": True, "top_logprobs": 2}),
    (CHAT, STREAM | {"stream_options": {"include_usage": False}}),
    (CHAT, STREAM | {"stream_options": {"continuous_usage_stats": True}}),
    (CHAT, STREAM | {"stream_options": None}),
    (COMPLETIONS, {"prompts": 2}),
    (COMPLETIONS, STREAM),
    (COMPLETIONS, STREAM | {"prompts": 3}),
    (COMPLETIONS, STREAM | USAGE | WARM | {"n": 2, "prompts": 2}),
    (COMPLETIONS, STREAM | WARM | {"n": 3, "prompts": 3}),
    (COMPLETIONS, STREAM | RUNNING | {"prompts": 2}),
    (COMPLETIONS, STREAM | {"echo": True, "logprobs": 1}),
    (COMPLETIONS, {"stop": ["e", "("], "max_tokens": 24}),
    (MESSAGES, {}),
    (MESSAGES, STREAM),
    (RESPONSES, {}),
    (RESPONSES, STREAM),
    (CHAT, CALL),
    (CHAT, STREAM | CALL),
]


def body_of(path, model, words, tokens):
    if path == RESPONSES:
        return {"model": model, "input": words, "max_output_tokens": tokens, "temperature": 0}
    body = {"model": model, "max_tokens": tokens, "temperature": 0}
    if path == MESSAGES:
        return body | {"messages": [{"role": "user", "content": words}]}
    body |= {"seed": 7, "ignore_eos": True}
    if path == CHAT:
        return body | {"messages": [{"role": "user", "content": words}]}
    return body | {"prompt": words}


def ask_of(name, shape, model, k=0, **more):
    path, extra = shape
    extra = extra | more
    words = WORDS[k % len(WORDS)]
    if "prompts" in extra:
        words = [WORDS[(k + i) % len(WORDS)] for i in range(extra.pop("prompts"))]
    return Ask(name, path, body_of(path, model, words, 1 + k % 11) | extra)


@pytest.fixture(scope="module")
def model(vllm):
    with Callers(vllm) as callers:
        return callers.openai.models.list().data[0].id


@pytest.fixture(scope="module")
def shapes(vllm, model):
    """Requests that this server accepts: tools need a parser."""
    taken = [s for s in SHAPES if served(vllm, ask_of("try", s, model))]
    if len(taken) < len(SHAPES):
        print(f"NOT TESTED, this server refuses them: {[s for s in SHAPES if s not in taken]}")
    return taken


def known_as(proxy, url, kind="vllm"):
    proxy.until(lambda s: s["servers"].get(url) == kind)
    return proxy


@pytest.fixture
def known_proxy(vllm, vllm_proxy):
    """A proxy that has found out what it stands in front of."""
    return known_as(vllm_proxy, vllm)


@pytest.fixture
def tapped(vllm):
    """(proxy, tap between it and the server)"""
    with Tap(vllm) as tap, ProxyProcess(upstream_toml(tap.url)) as proxy:
        yield known_as(proxy, tap.url), tap
        proxy.until_quiet()


def generated(url):
    """The server's own counter of completion tokens."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:
        text = response.read().decode()
    lines = [x for x in text.splitlines() if x.startswith("vllm:generation_tokens_total{")]
    return int(sum(float(x.rsplit(" ", 1)[1]) for x in lines))


# ---------------------------------------------------------------- counts


def told(ask):
    """True if the server sends this caller its usage."""
    return not ask.streams or ask.path in (MESSAGES, RESPONSES) or wants(ask, "include_usage")


def test_two_hundred_mixed_requests_have_the_servers_own_counts_in_the_ledger(
    vllm, known_proxy, model, shapes
):
    kinds = itertools.cycle(shapes)
    asks = [ask_of(f"mix-{k}", next(kinds), model, k) for k in range(200)]
    before = generated(vllm)
    with Callers(known_proxy.url) as callers, ThreadPoolExecutor(8) as pool:
        told_to = dict(zip((a.name for a in asks), pool.map(callers.counted, asks), strict=True))
    found = rows(known_proxy, set(told_to))
    assert [a.name for a in asks if (told_to[a.name] is not None) != told(a)] == []
    assert generated(vllm) - before == sum(r["completion_tokens"] for r in found.values())
    with Callers(vllm) as direct:
        for ask in asks:
            if not told(ask):
                told_to[ask.name] = direct.counted(ask.without("stream", "stream_options"))
    counted = {name: (*count_in(row), row["exactness"]) for name, row in found.items()}
    assert counted == {name: (*count, "exact") for name, count in told_to.items()}


# ---------------------------------------------------------------- cut in mid-stream

CUTS = [
    (CHAT, STREAM),
    (CHAT, STREAM | {"n": 3} | WARM),
    (CHAT, STREAM | USAGE),
    (CHAT, STREAM | RUNNING),
    (CHAT, STREAM | {"stop": ["qqqq"]}),
    (COMPLETIONS, STREAM),
    (COMPLETIONS, STREAM | {"prompts": 2, "n": 2} | WARM),
]


def running_count(events):
    """The server's last count: of the whole, or of each choice, added up."""
    if events and not events[-1]["choices"]:
        return events[-1]["usage"]["completion_tokens"]
    last = {e["choices"][0]["index"]: e["usage"] for e in events}
    return sum(u["completion_tokens"] for u in last.values())


def abort_behind(callers, ask, n_events):
    """Read so many events, then leave; returns the usages that the caller saw."""
    with callers.send(ask) as events:
        read = list(itertools.islice(events, n_events))
    assert len(read) == n_events
    return [e.usage for e in read if e.usage]


@pytest.mark.parametrize("k", range(len(CUTS)))
def test_an_aborted_answer_counts_every_token_the_server_had_sent(tapped, model, k):
    proxy, tap = tapped
    with Callers(proxy.url) as callers:
        for n_events in (1, 2, 5, 23):
            tap.hold_behind = n_events
            ask = ask_of(f"cut-{k}-{n_events}", CUTS[k], model, max_tokens=400)
            usages_seen = abort_behind(callers, ask, n_events)
            assert bool(usages_seen) == wants(ask, "continuous_usage_stats")
    for name, row in rows(proxy, set(tap.answers)).items():
        assert row["finish"] == "cut"
        assert row["exactness"] == "exact"
        assert row["completion_tokens"] == running_count(tap.answers[name].events()), name


def test_an_answer_that_flows_when_its_caller_leaves_is_counted_to_the_token(tapped, model):
    proxy, tap = tapped
    least = {}
    with Callers(proxy.url) as callers:
        for k in range(24):
            ask = ask_of(f"flow-{k}", CUTS[k % len(CUTS)], model, max_tokens=400)
            abort_behind(callers, ask, 3 + k)
            least[ask.name] = 3 + k
    for name, row in rows(proxy, set(least)).items():
        # The caller never read bytes that were on their way when the proxy closed the connection.
        events = tap.answers[name].events()
        possible = {running_count(events[:n]) for n in range(least[name], len(events) + 1)}
        assert row["exactness"] == "exact"
        assert row["completion_tokens"] in possible, name


# ---------------------------------------------------------------- what the caller sees


def with_the_fingerprint_moved(body):
    """vLLM writes its fingerprint into the event that finishes a choice, or, if usage is asked for,
    into the usage event instead."""
    return re.sub(rb',"system_fingerprint":"[^"]*"', b"", body)


@pytest.mark.parametrize("k", range(len(SHAPES)))
def test_the_answer_is_what_it_is_without_the_proxy(vllm, known_proxy, model, shapes, k):
    if SHAPES[k] not in shapes:
        pytest.skip(f"NOT TESTED: this server refuses {SHAPES[k]}")
    ask = ask_of(f"same-{k}", SHAPES[k], model, k, max_tokens=12)
    direct, through = raw(vllm, ask), raw(known_proxy.url, ask)
    if ask.path in (CHAT, COMPLETIONS) and ask.streams and not told(ask):
        direct = with_the_fingerprint_moved(direct)
    assert seen(through) == seen(direct)


STREAMS = [s for s in SHAPES if s[0] in (CHAT, COMPLETIONS) and s[1].get("stream")]


def test_only_usage_that_was_not_asked_for_is_taken_out_to_the_byte(tapped, model, shapes):
    proxy, tap = tapped
    for k, kind in enumerate(s for s in STREAMS if s in shapes):
        ask = ask_of(f"byte-{k}", kind, model, k, max_tokens=40)
        through = raw(proxy.url, ask)
        sent = tap.answers[ask.name].body()
        closing, running = wants(ask, "include_usage"), wants(ask, "continuous_usage_stats")
        assert all(beside for beside, _ in list(usages(sent))[:-1])
        assert through == stripped(sent, closing=not closing, running=not (closing and running))


def test_usage_that_was_asked_for_comes_exactly_once(known_proxy, model):
    for path in (CHAT, COMPLETIONS):
        answer = raw(known_proxy.url, ask_of("once", (path, STREAM | USAGE), model, 4))
        assert [beside for beside, _ in usages(answer)] == [False]


def test_running_usage_that_was_asked_for_is_passed_with_every_event(known_proxy, model):
    for path in (CHAT, COMPLETIONS):
        ask = ask_of("all", (path, STREAM | RUNNING), model, 4)
        answer = raw(known_proxy.url, ask)
        found = list(usages(answer))
        n_events = answer.count(b"data: {")
        assert [beside for beside, _ in found] == [True] * (n_events - 1) + [False]


def test_with_asking_switched_off_the_request_is_untouched(vllm, model):
    ask = ask_of("off", (CHAT, STREAM), model, 5)
    toml = "{}[metering]\ninject_usage = false\n"
    with Tap(vllm) as tap, ProxyProcess(toml.format(upstream_toml(tap.url))) as p:
        through = raw(p.url, ask)
        (row,) = rows(p, {"off"}).values()
        sent = tap.answers["off"].request.partition(b"\r\n\r\n")[2]
        assert through == tap.answers["off"].body()
    assert json.loads(sent) == ask.body
    assert row["exactness"] == "lower_bound"


# ---------------------------------------------------------------- corners


def test_a_request_the_server_finds_wrong_is_refused_as_without_the_proxy(vllm, known_proxy, model):
    wrong = ask_of("wrong", (CHAT, STREAM), model, temperature=-1)
    answers = []
    for url in (vllm, known_proxy.url):
        with pytest.raises(urllib.error.HTTPError) as found:
            raw(url, wrong)
        answers.append((found.value.code, found.value.read()))
    assert answers[0] == answers[1]
    with Callers(known_proxy.url) as callers:
        assert callers.counted(ask_of("right", (CHAT, STREAM), model, 6)) is None
    (row,) = rows(known_proxy, {"right"}).values()
    assert (row["completion_tokens"], row["exactness"]) == (7, "exact")


def test_a_request_too_large_to_be_held_is_counted_once_the_server_is_known_to_tell(
    known_proxy, model
):
    large = {"user": "x" * 200_000}
    with Callers(known_proxy.url) as callers:
        for name, more in (("first", {}), ("large", large)):
            ask = ask_of(name, (CHAT, STREAM), model, 6, **more)
            assert callers.counted(ask) is None
    found = rows(known_proxy, {"first", "large"})
    counts = {(*count_in(row), row["exactness"]) for row in found.values()}
    assert len(counts) == 1
    assert [c[2] for c in counts] == ["exact"]


def test_cached_tokens_are_those_the_server_tells(known_proxy, model):
    words = "a hat, a bat, " * 90
    more = {"messages": [{"role": "user", "content": words}], "max_tokens": 2}
    told_of = {}
    for k, extra in enumerate([{}, {}, STREAM | USAGE, STREAM | RUNNING]):
        ask = ask_of(f"cached-{k}", (CHAT, extra), model, **more)
        answer = raw(known_proxy.url, ask)
        used = list(usages(answer))[-1][1] if ask.streams else json.loads(answer)["usage"]
        told_of[ask.name] = (used.get("prompt_tokens_details") or {}).get("cached_tokens")
    found = rows(known_proxy, set(told_of))
    assert {name: row["cached_tokens"] for name, row in found.items()} == told_of
