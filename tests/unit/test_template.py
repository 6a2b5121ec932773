"""An event known by its template counts exactly as one that is walked, whatever the server sends.

The walk is the oracle: fed byte by byte a meter walks everything, fed whole it takes what it knows.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.probes.usage import MeterProbe, StripProbe

TEXT = b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n'


def texts(*each):
    return b"".join(TEXT % text for text in each)


def counted(body):
    """(exactly, parts): the meter's result for the body, with a cut stream's lower bound."""
    probe = MeterProbe("events")
    probe.feed(body)
    return probe.events(), probe.end(is_whole=False)


def assert_walked_alike(body):
    assert MeterProbe("events").first_wrong_split(body, True, 200) == -1
    stripped = MeterProbe("events")
    StripProbe(stripped, 0).feed(body, True)
    walked = MeterProbe("events")
    for k in range(len(body)):
        walked.feed(body[k : k + 1])
    assert stripped.end(is_whole=False) == walked.end(is_whole=False)


#: (what is odd about it, the events)
ODD = {
    "a text that ends in no root, one that never ends in the next":
        b'data:{"x"k"content":"t"\n\ndata:{}{"content":"[\n\n' * 2,
    "the same, the stale end far away":
        b'data:{"' + b"x" * 5000 + b'"k"content":"t"\n\ndata:{}{"content":"[\n\n' * 2,
    "a text behind a root": b'data: {}{"content":"a"\n\n' * 3,
    "a root behind the text's": b'data: {"content":"a"}{"choices":[]}\n\n' * 3,
    "a finish in front of an open root":
        b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}{\n\n' * 3,
    "usage in front of the text":
        b'data: {"usage":{"prompt_tokens":3,"completion_tokens":4},"content":"a"}\n\n' * 3,
    "a type in front of the text":
        b'data: {"type":"message_delta","text":"a"}\n\n'
        b'data: {"type":"message_delta","text":"b","usage":{"output_tokens":4}}\n\n',
    "numbers in front of the text, others behind":
        b'data: {"timings":{"prompt_n":5,"predicted_n":1},"content":"a"}\n\n'
        b'data: {"timings":{"prompt_n":5,"predicted_n":1},"content":"b",'
        b'"timings":{"prompt_n":7,"predicted_n":8}}\n\n'
        b'data: {"timings":{"prompt_n":5,"predicted_n":1},"content":"c"}\n\n',
    "a choice in front of the text's":
        b'data: {"choices":[{"index":2,"delta":{}},{"index":1,"delta":{"content":"a"}}]}\n\n'
        b'data: {"choices":[{"index":2,"delta":{}},{"index":1,"delta":{"content":"b"}}],'
        b'"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n',
    "a line end inside the text": texts(b"a", b"b\rnot data", b"c", b'd"}}]}\rdata: {"x":"', b"e"),
    "a second line of data": texts(b"a", b'b\ndata: "', b"c"),
    "an empty text": texts(b"a", b"", b"b", b""),
    "escapes": texts(b"a", b'\\"', b"\\\\", b"b\\", b"c"),
    "CRLF": texts(b"a", b"b", b"c").replace(b"\n", b"\r\n"),
    "usage without its comma":
        b'data: {"a":{"content":"x"}"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n' * 3,
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
def test_odd_events_count_as_if_walked(odd):
    assert_walked_alike(ODD[odd])
    assert_walked_alike(texts(b"a", b"b") + ODD[odd] + texts(b"c"))


def test_what_is_known_is_counted():
    n, (_, completion, *_) = counted(texts(b"a", b"b", b"c", b"", b"d"))
    assert (n, completion) == (5, 4)


def test_usage_behind_a_known_head_is_cut_out_with_its_own_comma_only():
    """The comma lies in the head, which was not read: nothing is taken out rather than too much."""
    event = b'data: {"a":{"content":"x"}"usage":{"completion_tokens":4}}\n\n'
    again = StripProbe(MeterProbe("events"), 2)
    again.feed(event)
    assert again.feed(event) == event


WORDS = st.sampled_from([
    b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\r", b"1", b"data: ", b"\n\ndata: ", b"{}",
    b'{"content":"', b'"content":"x"', b'"choices":[{"delta":{', b"}}]}\n\n", b'"usage":{',
    b'"completion_tokens":4', b'"finish_reason":"stop"', b'"index":1', b'"token":{"text":"y"}',
    b'"type":"message_delta"', b'{"choices":[{"delta":{"content":"z"}}]}\n\n', b"event: error\n",
])  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(WORDS, max_size=24), st.integers(1, 3))
def test_any_events_count_as_if_walked(words, times):
    assert_walked_alike((b"data: " + b"".join(words) + b"\n\n") * times or b"x")
