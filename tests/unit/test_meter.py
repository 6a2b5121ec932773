"""Usage as servers report it, at every split; text that imitates it counts for nothing."""

import base64
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zeroproxy._fast.probe_meter import MeterProbe

SHARED = Path(os.environ.get("ZEROPROXY_SHARED", "../shared"))


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
    {"choices": [], "usage": usage(5, 4)},
    {"choices": [], "usage": usage(5, 6)},
)
ANTHROPIC_LIKE = sse({"response": {"usage": {"input_tokens": 9, "output_tokens": 4}}})
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
    ("events", FINAL, (7, 2, 3, None, "exact", "m-1")),
    ("events", FINAL.replace(b"\n", b"\r\n"), (7, 2, 3, None, "exact", "m-1")),
    ("events", FINAL.replace(b"\n", b"\r"), (7, 2, 3, None, "exact", "m-1")),
    ("events", b": ping\n\nevent: x\nid: 1\n" + FINAL, (7, 2, 3, None, "exact", "m-1")),
    ("events", FINAL.replace(b"data: ", b"data:"), (7, 2, 3, None, "exact", "m-1")),
    ("events", CONTINUOUS, (5, 3, None, None, "exact", "m-1")),
    ("events", PER_CHOICE, (5, 10, None, None, "exact", "")),
    ("events", ANTHROPIC_LIKE, (9, 4, None, None, "exact", "")),
    ("events", DECOYS, (None, None, None, None, "none", "m-1")),
    ("json", WHOLE, (11, 5, None, 2, "exact", "m-2")),
    ("json", b'{"usage":{"prompt_tokens":3,"total_tokens":3}}', (3, None, None, None, "exact", "")),
    ("json", b'{"a":{"usage":{"prompt_tokens":3}}}', (None, None, None, None, "none", "")),
    ("json", b'{"usage":{"prompt_tokens":3.5,"completion_tokens":-1}}',
     (None, None, None, None, "none", "")),
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


def test_a_cut_with_a_running_count_is_a_lower_bound():
    cut = CONTINUOUS[: CONTINUOUS.rindex(b"data:")]
    assert measure("events", [cut], is_whole=False)[:5] == (5, 2, None, None, "lower_bound")


def test_a_cut_behind_the_final_usage_is_exact():
    assert measure("events", [FINAL[:-10]], is_whole=False)[4] == "exact"


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_edges_are_seen_at_every_split(end):
    body = b"data: {}" + end
    for k in range(1, len(body)):
        m = MeterProbe("events")
        assert m.at_edge()
        m.feed(body[:k])
        inside = m.at_edge()
        m.feed(body[k:])
        assert m.at_edge()
        assert not inside or body[:k].endswith(end)


@given(st.binary(max_size=400))
def test_any_bytes_do_no_harm(data):
    for kind in ("events", "json"):
        m = MeterProbe(kind)
        m.feed(b"data: " + data)
        m.end(False)


def test_deep_nesting_and_long_names_are_stepped_over():
    deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    body = b'{"x":' + deep + b',"' + b"k" * 100_000 + b'":1,"usage":{"prompt_tokens":4}}'
    assert measure("json", [body])[0] == 4


#: Golden bodies whose rules need the request (n, prompts) or another dialect's fields.
OTHER_RULES = ("2prompts", "anthropic", "generate", "cut", "realtime")


def samples():
    path = SHARED / "wire" / "samples.jsonl"
    if not path.exists():
        return []
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        s for s in found
        if s["server"].startswith(("vllm", "llama-box", "llamabox")) and s["exactness"] == "exact"
        and s["framing"] in ("sse", "json") and s["eof"] == "clean"
        and not any(word in s["id"] for word in OTHER_RULES)
    ]  # fmt: skip


@pytest.mark.parametrize("sample", samples(), ids=lambda s: s["id"])
def test_golden_bodies_give_their_counts(sample):
    body = base64.b64decode(sample["raw_b64"])
    kind = "events" if sample["framing"] == "sse" else "json"
    expected = sample["expected"]
    for parts in ([body], [body[k : k + 1] for k in range(len(body))]):
        found = measure(kind, parts)
        wanted = expected["completion_tokens"]
        assert found[0] == expected["prompt_tokens"]
        assert (found[1] or 0) == (wanted or 0)


def test_the_golden_bodies_are_there():
    if not (SHARED / "wire").exists():
        pytest.skip("NOT TESTED: the golden bodies (../shared/wire) are missing")
    assert len(samples()) > 20
