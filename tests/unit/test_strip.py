"""What the proxy asked for is taken out, and nothing else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zeroproxy._fast.probe_meter import MeterProbe, StripProbe

FINAL, RUNNING, TIMINGS = 1, 2, 4


def event(text=b"x", usage=b"", end=b"\n\n"):
    return b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"%s"}}]%s}%s' % (
        text,
        usage,
        end,
    )


BESIDE = b',"usage":{"prompt_tokens":3,"completion_tokens":2}'
TIMED = b',"timings":{"cache_n":1,"prompt_n":2,"predicted_n":1}'
ENDS = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]%s}\n\n' % TIMED
LAST = b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":9}}\n\n'
DONE = b"data: [DONE]\n\n"


def strip(parts, edited):
    probe = MeterProbe("events")
    stripper = StripProbe(probe, edited)
    out = b"".join(stripper.feed(part) for part in parts) + stripper.feed(b"", True)
    return out, probe.end()


CASES = [
    (event() + event(b"y") + LAST + DONE, FINAL, event() + event(b"y") + DONE),
    (event(usage=BESIDE) + LAST + DONE, FINAL | RUNNING, event() + DONE),
    (event(usage=BESIDE) + LAST + DONE, RUNNING, event() + LAST + DONE),
    (event(usage=BESIDE) + LAST + DONE, FINAL, event(usage=BESIDE) + DONE),
    (event(usage=b', "usage" : {"prompt_tokens": 3, "completion_tokens": 1}') + DONE, 3,
     event() + DONE),
    (event(usage=b',"usage":null') + DONE, 3, event(usage=b',"usage":null') + DONE),
    (event(usage=BESIDE + b',"x":1') + DONE, 3, event(usage=b',"x":1') + DONE),
    (b'data: {"usage":{"prompt_tokens":3,"completion_tokens":1}, "choices":[{}]}\n\n', 3,
     b'data: { "choices":[{}]}\n\n'),
    (b": ping\n\nevent: x\nid: 1\n" + event(usage=BESIDE), 3,
     b": ping\n\nevent: x\nid: 1\n" + event()),
    (event(usage=BESIDE, end=b"\r\n\r\n") + LAST.replace(b"\n", b"\r\n"), 3,
     event(end=b"\r\n\r\n")),
    # llama.cpp's timings go where a choice goes on, and stay where it ends
    (event(usage=TIMED) + event(b"y", usage=TIMED) + ENDS + DONE, TIMINGS,
     event() + event(b"y") + ENDS + DONE),
    (event(usage=TIMED) + DONE, FINAL | RUNNING, event(usage=TIMED) + DONE),
    (event(usage=BESIDE) + DONE, TIMINGS, event(usage=BESIDE) + DONE),
    (LAST.replace(b"}}", b"}" + TIMED + b"}"), TIMINGS, LAST.replace(b"}}", b"}" + TIMED + b"}")),
    # a text that imitates what is taken out
    (event(b'\\",\\"usage\\":{}') + event(b"data: [DONE]"), 3,
     event(b'\\",\\"usage\\":{}') + event(b"data: [DONE]")),
    (b'data: {"choices":[{"logprobs":{"usage":{"completion_tokens":1}}}]}\n\n', 3,
     b'data: {"choices":[{"logprobs":{"usage":{"completion_tokens":1}}}]}\n\n'),
    # behind [DONE] nothing is looked at
    (DONE + LAST, 3, DONE + LAST),
    # an end without its blank line
    (event() + b"data: {", 3, event() + b"data: {"),
    (b"", 3, b""),
]  # fmt: skip


@pytest.mark.parametrize(("body", "edited", "expected"), CASES)
def test_exactly_what_was_asked_for_is_taken_out_at_every_split(body, edited, expected):
    out, counted = strip([body], edited)
    assert out == expected
    for k in range(len(body)):
        assert strip([body[:k], body[k:]], edited) == (expected, counted), k
    assert strip([body[k : k + 1] for k in range(len(body))], edited) == (expected, counted)


@pytest.mark.parametrize(("body", "edited", "expected"), CASES)
def test_stripping_changes_no_count(body, edited, expected):
    probe = MeterProbe("events")
    if body:
        probe.feed(body)
    assert strip([body], edited)[1] == probe.end()


@given(st.data())
def test_every_other_byte_stays(data):
    """Events with and without usage, in any order and any pieces."""
    texts = data.draw(st.lists(st.text(max_size=12), max_size=8))
    events, kept = [], []
    for text in texts:
        plain = json.dumps(text)[1:-1].encode()
        usage = data.draw(st.sampled_from([b"", BESIDE, b',"usage":null']))
        events.append(event(plain, usage))
        kept.append(event(plain, b"" if usage == BESIDE else usage))
        if data.draw(st.booleans()):
            events.append(LAST)
    body = b"".join(events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=10)))
    parts = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert strip(parts, FINAL | RUNNING)[0] == b"".join(kept)


@given(st.binary(max_size=300), st.integers(0, 3))
def test_any_bytes_do_no_harm(data, edited):
    out, _ = strip([data], edited)
    assert len(out) <= len(data)
