"""Usage that the proxy requested is taken out, and nothing else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.probes.usage import MeterProbe, StripProbe

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
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]%s}\n\n'
SECOND = END.replace(b"0", b"1")


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
    # without a choice there is nothing to show (F7)
    (event() + LAST.replace(b'"choices":[]', b'"choices":null') + DONE, 3, event() + DONE),
    (event() + LAST.replace(b'"choices":[],', b"") + DONE, 3, event() + DONE),
    (event() + LAST.replace(b'"choices":[],', b"") + DONE, RUNNING,
     event() + LAST.replace(b'"choices":[],', b"") + DONE),
    (event() + LAST.replace(b'"choices":[]', b'"error":{}') + DONE, 3,
     event() + b'data: {"id":"c","error":{}}\n\n' + DONE),
    # the event that ends a choice waits for what follows (F7)
    (END % BESIDE + LAST + DONE, RUNNING, END % b"" + LAST + DONE),
    (END % BESIDE + DONE, RUNNING, END % BESIDE + DONE),
    (END % BESIDE + b": ping\n\n" + LAST, RUNNING, END % b"" + b": ping\n\n" + LAST),
    (END % BESIDE + b": ping\n" + DONE, RUNNING, END % BESIDE + b": ping\n" + DONE),
    (END % BESIDE + event(usage=BESIDE) + SECOND % BESIDE, RUNNING,
     END % b"" + event() + SECOND % BESIDE),
    (END % BESIDE + event() + LAST, RUNNING, END % BESIDE + event() + LAST),
    ((END % BESIDE + LAST).replace(b"\n", b"\r\n"), RUNNING,
     (END % b"" + LAST).replace(b"\n", b"\r\n")),
    ((END % BESIDE + LAST + DONE).replace(b"\n", b"\r"), RUNNING,
     (END % b"" + LAST + DONE).replace(b"\n", b"\r")),
    # any line end ends an event, and a comment stands alone (F9)
    ((event(usage=BESIDE) * 3 + LAST + DONE).replace(b"\n", b"\r"), 3,
     (event() * 3 + DONE).replace(b"\n", b"\r")),
    ((event(usage=BESIDE) * 3 + LAST + DONE).replace(b"\n", b"\r\n"), 3,
     (event() * 3 + DONE).replace(b"\n", b"\r\n")),
    (b"".join(event(usage=BESIDE, end=end) for end in (b"\r\r", b"\n\r", b"\r\n\r", b"\r\r\n"))
     + LAST, 3, b"".join(event(end=e) for e in (b"\r\r", b"\n\r", b"\r\n\r", b"\r\r\n"))),
    (b": a\n: b\r: c\r\n" + event(usage=BESIDE), 3, b": a\n: b\r: c\r\n" + event()),
    (b": a\ndata: x\n: b\n\n" + LAST + b": c\r" + DONE, 3,
     b": a\ndata: x\n: b\n\n: c\r" + DONE),
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


LINES = [
    *(event(text, usage).strip() for text in (b"x", b"yy") for usage in (b"", BESIDE)),
    *(part.strip() for part in (END % BESIDE, SECOND % BESIDE, SECOND % b"", LAST, DONE)),
    b'data: {"usage":{"prompt_tokens":3}}', b": ping", b"event: x", b"",
]  # fmt: skip


@given(
    st.lists(st.tuples(st.sampled_from(LINES), st.integers(1, 2)), max_size=14),
    st.lists(st.sampled_from([b"\n", b"\r", b"\r\n"]), min_size=1, max_size=3),
    st.integers(0, 3),
    st.randoms(),
)
def test_no_split_of_any_lines_changes_what_is_sent_or_counted(lines, ends, edited, chance):
    body = b"".join(line + chance.choice(ends) * times for line, times in lines)
    cuts = sorted(chance.randint(0, len(body)) for _ in range(chance.randint(1, 12)))
    parts = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    whole = strip([body], edited)
    assert strip([part for part in parts if part], edited) == whole
    probe = MeterProbe("events")
    if body:
        probe.feed(body)
    assert probe.end() == whole[1]
    assert edited or whole[0] == body


@given(st.binary(max_size=300), st.integers(0, 3))
def test_any_bytes_do_no_harm(data, edited):
    out, _ = strip([data], edited)
    assert len(out) <= len(data)
