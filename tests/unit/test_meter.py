"""Usage as servers report it, at every split; text that imitates it counts for nothing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.probes.usage import MeterProbe


def sse(*payloads):
    return b"".join(
        b"data: " + (p if isinstance(p, bytes) else json.dumps(p).encode()) + b"\n\n"
        for p in payloads
    )


def usage(prompt, completion, **more):
    return {"prompt_tokens": prompt, "completion_tokens": completion, **more}


def choice(text="x", index=0):
    return [{"index": index, "delta": {"content": text}, "finish_reason": None}]


FINAL = sse(
    {"model": "m-1", "choices": choice()},
    {"model": "m-1", "choices": choice("y")},
    {"model": "m-1", "choices": [],
     "usage": usage(7, 2, prompt_tokens_details={"cached_tokens": 3})},
    b"[DONE]",
)  # fmt: skip
CONTINUOUS = sse(
    {"model": "m-1", "choices": choice(index=0), "usage": usage(5, 1)},
    {"model": "m-1", "choices": choice(index=1), "usage": usage(5, 1)},
    {"model": "m-1", "choices": choice(index=0), "usage": usage(5, 2)},
)
PER_CHOICE = sse(
    {"choices": choice()},
    {"choices": choice(index=1)},
    {"choices": [], "usage": usage(5, 4)},
    {"choices": [], "usage": usage(5, 6)},
)
RESPONSES = sse(
    {"response": {"usage": {"input_tokens": 9, "output_tokens": 4}}, "type": "response.completed"}
)
DECOYS = sse(
    {"model": "m-1", "choices": choice('"usage":{"completion_tokens":99}')},
    {"choices": [{"index": 0, "logprobs": {"top": {"usage": {"completion_tokens": 98}}}}]},
    {"choices": choice(), "usage": None},
    {"choices": choice(), "usage": "usage"},
    {"choices": [], "extra": {"usage": usage(97, 97)}},
)
WHOLE = json.dumps(
    {"model": "m-2", "choices": choice("a"), "usage": usage(11, 5, completion_tokens_details={
        "reasoning_tokens": 2})}
).encode()  # fmt: skip
CASES = [
    ("events", FINAL, (7, 2, 3, None, "exact", "done", "m-1")),
    ("events", FINAL.replace(b"\n", b"\r\n"), (7, 2, 3, None, "exact", "done", "m-1")),
    ("events", FINAL.replace(b"\n", b"\r"), (7, 2, 3, None, "exact", "done", "m-1")),
    ("events", b": ping\n\nevent: x\nid: 1\n" + FINAL, (7, 2, 3, None, "exact", "done", "m-1")),
    ("events", FINAL.replace(b"data: ", b"data:"), (7, 2, 3, None, "exact", "done", "m-1")),
    ("events", CONTINUOUS, (5, 3, None, None, "exact", "cut", "m-1")),
    ("events", PER_CHOICE, (5, 10, None, None, "exact", "cut", "")),
    ("events", RESPONSES, (9, 4, None, None, "exact", "done", "")),
    ("events", DECOYS, (None, 3, None, None, "lower_bound", "cut", "m-1")),
    ("json", WHOLE, (11, 5, None, 2, "exact", "done", "m-2")),
    ("json", b'{"usage":{"prompt_tokens":3,"total_tokens":3}}',
     (3, 0, None, None, "exact", "done", "")),
    ("json", b'{"a":{"usage":{"prompt_tokens":3}}}', (None, None, None, None, "none", "done", "")),
    ("json", b'{"usage":{"prompt_tokens":3.5,"completion_tokens":-1}}',
     (None, None, None, None, "none", "done", "")),
]  # fmt: skip


def measure(kind, parts, is_whole=True):
    m = MeterProbe(kind)
    for part in parts:
        m.feed(part)
    return m.end(is_whole)


@pytest.mark.parametrize(("kind", "body", "expected"), CASES)
def test_whole_bytewise_and_at_every_split(kind, body, expected):
    assert measure(kind, [body]) == expected
    assert measure(kind, [body[k : k + 1] for k in range(len(body))]) == expected
    for k in range(len(body)):
        assert measure(kind, [body[:k], body[k:]]) == expected, k


@given(st.data())
def test_random_splits(data):
    kind, body, expected = data.draw(st.sampled_from(CASES))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    parts = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert measure(kind, parts) == expected


PRETTY = [
    (kind, json.dumps(json.loads(body), indent=indent, separators=between).encode())
    for kind, body, _ in CASES
    if kind == "json"
    for indent, between in (
        (None, (",", ":")),
        (None, (", ", ": ")),
        (1, None),
        (None, (" ,", " :")),
    )
]
JUNK = [b'"', b"\\", b"{", b"}", b"[", b"]", b":", b",", b" ", b"\n", b"t", b"true", b"null", b"-",
        b"1", b"2e1", b".", b"x", b"", b'"usage":', b'"completion_tokens":7',
        b'"model":"m']  # fmt: skip


@given(st.data())
def test_a_damaged_text_reads_the_same_whole_and_bytewise(data):
    """Members that are all here are taken in one look; it must see what the steps see."""
    kind, body = data.draw(st.sampled_from([(k, b) for k, b, _ in CASES] + PRETTY))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(body)))
        gone = data.draw(st.integers(0, 3))
        body = body[:at] + data.draw(st.sampled_from(JUNK)) + body[at + gone :]
    assert measure(kind, [body]) == measure(kind, [body[k : k + 1] for k in range(len(body))])


def test_a_cut_with_running_counts_on_every_event_is_exact():
    cut = CONTINUOUS[: CONTINUOUS.rindex(b"data:")]
    assert measure("events", [cut], is_whole=False)[:6] == (5, 2, None, None, "exact", "cut")


def test_text_behind_the_last_running_count_makes_a_lower_bound():
    more = CONTINUOUS + sse({"choices": choice("z")}, {"choices": choice("z")})
    assert measure("events", [more], is_whole=False)[:5] == (5, 5, None, None, "lower_bound")


def test_more_running_choices_than_can_be_kept_make_a_lower_bound_until_the_final_usage():
    body = sse(*({"choices": choice(index=k), "usage": usage(3, 1)} for k in range(20)))
    assert measure("events", [body], is_whole=False)[4] == "lower_bound"
    body += sse({"choices": [], "usage": usage(3, 20)})
    assert measure("events", [body], is_whole=False)[:5] == (3, 20, None, None, "exact")


def test_a_cut_behind_the_final_usage_is_exact():
    assert measure("events", [FINAL[:-10]], is_whole=False)[4] == "exact"


@pytest.mark.parametrize(
    ("end", "first"), [(b"\n\n", b"\n\n"), (b"\r\n\r\n", b"\r\n\r"), (b"\r\r", b"\r\r")]
)
def test_edges_are_seen_at_every_split(end, first):
    """A CR ends the blank line, whether or not an LF belongs to it."""
    body = b"data: {}" + end
    for k in range(1, len(body)):
        m = MeterProbe("events")
        assert m.at_edge()
        m.feed(body[:k])
        inside = m.at_edge()
        m.feed(body[k:])
        assert m.at_edge()
        assert inside == body[:k].endswith(first)


@given(st.binary(max_size=400))
def test_any_bytes_do_no_harm(data):
    for kind in ("events", "json", "lines", "frames"):
        m = MeterProbe(kind)
        m.feed(b"data: " + data)
        m.end(False)


def test_deep_nesting_and_long_names_are_stepped_over():
    deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    body = b'{"x":' + deep + b',"' + b"k" * 100_000 + b'":1,"usage":{"prompt_tokens":4}}'
    assert measure("json", [body])[0] == 4


TEMPLATE = (
    b'data: {"id":"c-1","created":1,"model":"m-1","choices":[{"index":0,"delta":{"content":"%s"},'
    b'"finish_reason":null}]}\n\n'
)


@given(st.lists(st.text(max_size=20), max_size=12), st.data())
def test_events_that_differ_in_their_text_only_count_as_if_each_were_walked(texts, data):
    """The template must not see more or less than the walk: cut reads never use it."""
    parts = [TEMPLATE % json.dumps(text)[1:-1].encode() for text in texts]
    odd = data.draw(st.lists(st.integers(0, len(parts)), max_size=4))
    for k in odd:
        parts.insert(k, data.draw(st.sampled_from([
            b": ping\n\n",
            TEMPLATE.replace(b'"index":0', b'"index":1') % b"x",
            TEMPLATE.replace(b"null", b'"stop"') % b"",
            TEMPLATE.replace(b"]}", b'],"usage":{"prompt_tokens":3,"completion_tokens":2}}') % b"y",
            TEMPLATE.replace(b"]}", b'],"error":{"message":"x"}}') % b"z",
            b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":9}}\n\n',
        ])))  # fmt: skip
    body = b"".join(parts)
    as_events, bytewise = MeterProbe("events"), MeterProbe("events")
    for part in parts:
        as_events.feed(part)
    for k in range(len(body)):
        bytewise.feed(body[k : k + 1])
    assert as_events.events() == bytewise.events()
    assert as_events.end() == bytewise.end() == measure("events", [body] if body else [])


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (b"7", 7),
        (b"7.0", 7),
        (b"0.7e1", 7),
        (b"70e-1", 7),
        (b"0", 0),
        (b"0.0", 0),
        (b"9007199254740993", 9007199254740993),
        (b"7.5", None),
        (b"-7", None),
        (b"1e400", None),
        (b"9" * 40, None),
        (b"7e", None),
        (b'"7"', None),
        (b"null", None),
        (b"true", None),
    ],
)
def test_numbers_count_only_if_they_are_whole(text, count):
    body = b'{"usage":{"prompt_tokens":1,"completion_tokens":' + text + b'},"choices":[{}]}'
    assert measure("json", [body])[1] == (0 if count is None else count)


@pytest.mark.parametrize("between", [b"\n", b"\r\n", b":\n", b": x\n\n", b"id: 1\n"])
def test_short_events_that_differ_outside_their_text_are_told_apart(between):
    """Found by fuzzing: below 32 bytes every template had the same hash."""
    short = b'data: {"choices":[{"text":"%s"}]%s}\n\n'
    usage = b',"usage":{"prompt_tokens":3,"completion_tokens":9}'
    texts = short % (b"a", b"") + between + short % (b"b", b"") + between + short % (b"c", b"")
    probe = MeterProbe("events")
    probe.feed(texts)
    assert probe.end(False)[1] == 3
    probe = MeterProbe("events")
    probe.feed(texts + between + short % (b"d", usage))
    assert probe.end()[:2] == (3, 9)
