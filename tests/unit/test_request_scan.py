"""Facts of request bodies, and the edits that request usage: at every split, never twice."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.probes.usage import RequestScanProbe, longest_edit

NOTHING, USAGE, RUNNING, EITHER_ALONE = 0, 1, 2, 3
#: RequestScanProbe.edited
FINAL, BESIDE_CHOICES = 1, 2


def edit(parts, usage_request):
    probe = RequestScanProbe(usage_request)
    out = b"".join(probe.feed(part) for part in parts)
    return out, probe


def as_members(pairs):
    """An object as a list of its members: keys that occur twice stay twice."""
    return pairs


def parse(body):
    return json.loads(body, object_pairs_hook=as_members)


CASES = [
    # what the caller sent, what is asked for, what goes upstream, what was edited
    (b'{"stream":true}', USAGE, {"stream": True, "stream_options": {"include_usage": True}}, 1),
    (b'{"stream":true}', RUNNING,
     {"stream": True,
      "stream_options": {"include_usage": True, "continuous_usage_stats": True}}, 3),
    (b'{"stream":true}', EITHER_ALONE,
     {"stream": True,
      "stream_options": {"include_usage": True, "continuous_usage_stats": True}}, 3),
    (b'{"stream":true,"stream_options":{"include_usage":true}}', EITHER_ALONE,
     {"stream": True,
      "stream_options": {"include_usage": True, "continuous_usage_stats": True}}, 2),
    (b'{"stream":true,"stream_options":{}}', RUNNING,
     {"stream": True,
      "stream_options": {"include_usage": True, "continuous_usage_stats": True}}, 3),
    (b'{"stream":true,"stream_options":{ "include_usage" : true }}', RUNNING,
     {"stream": True,
      "stream_options": {"include_usage": True, "continuous_usage_stats": True}}, 2),
    (b'{"stream":true,"stream_options":{"include_usage":true}}', USAGE, None, 0),
    (b'{"stream":true,"stream_options":{"include_usage":false}}', USAGE,
     {"stream": True, "stream_options": {"include_usage": True}}, 1),
    (b'{"stream_options":{"include_usage":false,"x":[1]},"stream":true}', RUNNING,
     {"stream_options": {"include_usage": True, "x": [1], "continuous_usage_stats": True},
      "stream": True}, 3),
    (b'{"stream":true,"stream_options":{"include_usage":null}}', USAGE,
     {"stream": True, "stream_options": {"include_usage": True}}, 1),
    (b'{"stream":true,"stream_options":null}', USAGE,
     {"stream": True, "stream_options": {"include_usage": True}}, 1),
    (b'{"stream":true,"stream_options":null}', RUNNING,
     {"stream": True,
      "stream_options": {"include_usage": True, "continuous_usage_stats": True}}, 3),
    (b'{"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":false}}',
     RUNNING,
     {"stream": True,
      "stream_options": {"include_usage": True, "continuous_usage_stats": True}}, 2),
    (b'{"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}',
     RUNNING, None, 0),
    # not streamed, or nothing wanted: not a byte
    (b'{"stream":false}', RUNNING, None, 0),
    (b'{"model":"m"}', RUNNING, None, 0),
    (b'{"stream":true}', NOTHING, None, 0),
    (b'{"stream":true,"stream":false}', RUNNING, None, 0),
    # what we do not understand is left alone
    (b'{"stream":true,"stream_options":3}', RUNNING, None, 0),
    (b'{"stream":true,"stream_options":"x"}', RUNNING, None, 0),
    (b'{"stream":true,"stream_options":[]}', RUNNING, None, 0),
    (b'{"stream":true,"stream_options":true}', RUNNING, None, 0),
    # a member that occurs twice: which one counts is the server's choice
    (b'{"stream_options":{"include_usage":true,"include_usage":false},"stream":true}', USAGE,
     None, 0),
    (b'{"stream_options":{"include_usage":true},"stream_options":{},"stream":true}', USAGE,
     None, 0),
    # what servers take for a boolean is one
    (b'{"stream":1}', USAGE, {"stream": 1, "stream_options": {"include_usage": True}}, 1),
    (b'{"stream":1.0,"a":0}', USAGE,
     {"stream": 1.0, "a": 0, "stream_options": {"include_usage": True}}, 1),
    (b'{"stream":10E-1}', USAGE, {"stream": 1.0, "stream_options": {"include_usage": True}}, 1),
    (b'{"stream":"yEs"}', USAGE, {"stream": "yEs", "stream_options": {"include_usage": True}}, 1),
    (b'{"stream":"o\\u006e"}', USAGE, {"stream": "on", "stream_options": {"include_usage": True}},
     1),
    (b'{"stream":0}', USAGE, None, 0),
    (b'{"stream":-0.0e7}', USAGE, None, 0),
    (b'{"stream":"off"}', USAGE, None, 0),
    (b'{"stream":"truee"}', USAGE, None, 0),
    (b'{"stream":true,"stream_options":{"include_usage":1}}', USAGE, None, 0),
    (b'{"stream":true,"stream_options":{"include_usage":"y","continuous_usage_stats":"1"}}',
     RUNNING, None, 0),
    # names are compared decoded
    (b'{"str\\u0065am":true}', USAGE,
     {"stream": True, "stream_options": {"include_usage": True}}, 1),
    (b'{"stream":true,"stream\\u005foptions":{"include\\u005Fusage":false}}', USAGE,
     {"stream": True, "stream_options": {"include_usage": True}}, 1),
    (b'\xef\xbb\xbf{"stream":true}', USAGE,
     {"stream": True, "stream_options": {"include_usage": True}}, 1),
    (b'[{"stream":true}]', RUNNING, None, 0),
    (b'"stream"', RUNNING, None, 0),
    (b"17", RUNNING, None, 0),
    (b"null", RUNNING, None, 0),
    # the same words where they mean nothing
    (b'{"messages":[{"stream":true,"role":"stream_options"}]}', RUNNING, None, 0),
    (b'{"a":{"stream":true},"b":"\\"stream\\":true"}', RUNNING, None, 0),
    (b'{"a":{"stream_options":{"include_usage":false}},"stream":true}', USAGE,
     {"a": {"stream_options": {"include_usage": False}}, "stream": True,
      "stream_options": {"include_usage": True}}, 1),
    (b' \r\n\t{ "stream" : true , "n" : 2 } \n', USAGE,
     {"stream": True, "n": 2, "stream_options": {"include_usage": True}}, 1),
    (b'{"stream":true,"stream_options":{"include_usage":1}}', RUNNING,
     {"stream": True, "stream_options": {"include_usage": 1, "continuous_usage_stats": True}}, 2),
]  # fmt: skip


@pytest.mark.parametrize(("body", "usage_request", "expected", "edited"), CASES)
def test_what_goes_upstream_at_every_split(body, usage_request, expected, edited):
    out, probe = edit([body], usage_request)
    assert probe.edited == edited
    if expected is None:
        assert out == body
    else:
        assert json.loads(out) == expected
    for k in range(1, len(body)):
        assert edit([body[:k], body[k:]], usage_request)[0] == out, k
    assert edit([body[k : k + 1] for k in range(len(body))], usage_request)[0] == out


JUNK = [b'"', b"\\", b"{", b"}", b"[", b"]", b":", b",", b" ", b"\n", b"true", b"null", b"-", b"1",
        b"", b'"stream":true', b'"n":3', b'"model":"m"', b'"stream_options":']  # fmt: skip


@given(st.data())
def test_a_damaged_request_reads_the_same_whole_and_bytewise(data):
    """Members that mean nothing are passed in one look; it must see what the steps see."""
    body, usage_request, _, _ = data.draw(st.sampled_from(CASES))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(body)))
        gone = data.draw(st.integers(0, 3))
        body = body[:at] + data.draw(st.sampled_from(JUNK)) + body[at + gone :]
    pieces = [body[k : k + 1] for k in range(len(body))]
    (whole, one), (bytewise, other) = edit([body], usage_request), edit(pieces, usage_request)
    assert whole == bytewise
    assert one.seen() == other.seen()


@pytest.mark.parametrize(("body", "usage_request", "expected", "edited"), CASES)
def test_an_edit_is_never_longer_than_announced(body, usage_request, expected, edited):
    assert len(edit([body], usage_request)[0]) - len(body) <= longest_edit(usage_request)


@pytest.mark.parametrize(("body", "usage_request", "expected", "edited"), CASES)
def test_what_was_edited_can_be_taken_back_at_the_same_length(
    body, usage_request, expected, edited
):
    out, probe = edit([body], usage_request)
    back = probe.undo(out)
    assert len(back) == len(out)
    assert json.loads(back) == json.loads(body)


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        (b'{"model":"m-1","stream":true,"n":12}', (b"m-1", True, 12, False, True)),
        (b'{"n":99999999,"model":"' + b"x" * 256 + b'"}', (b"x" * 256, False, 9999, False, True)),
        (
            b'{"mod\\u0065l":"org\\/\\u6a21\\u578B"}',
            ("org/\u6a21\u578b".encode(), False, 0, False, True),
        ),
        (b'{"model":"a","model":"b"}', (b"b", False, 0, False, True)),
        (b'{"model":{"model":"c"},"n":null}', (b"", False, 0, False, True)),
        (b'{"stream_options":{"include_usage":true}', (b"", False, 0, True, False)),
        (b"", (b"", False, 0, False, False)),
    ],
)
def test_what_a_request_says_of_itself(body, seen):
    _, probe = edit([body], NOTHING)
    assert probe.seen()[0] == seen[0]
    assert probe.seen()[1] == seen[1]
    assert probe.seen()[3:] == seen[3:]
    assert edit([body[k : k + 1] for k in range(len(body))], NOTHING)[1].seen() == probe.seen()


def name_of(body, at=0):
    _, probe = edit([body[:at], body[at:]], NOTHING)
    return probe.seen()[0]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (b"org\\/model", "org/model"),
        (b"\\u6a21\\u578b", "\u6a21\u578b"),
        ("\u6a21\u578b".encode(), "\u6a21\u578b"),
        (b"a\\ud83d\\ude00b", "a\U0001f600b"),
        (b"\\uD83D\\uDE00", "\U0001f600"),
        (b"\\u00e9\\u07ff\\u0800", "\xe9\u07ff\u0800"),
        # what a terminal would obey is not written as it is
        (b'\\"\\\\\\b\\f\\n\\r\\t', '"\\?????'),
        (b"\\u0000\\u001b[2J\\u009b\x7f", "??[2J???"),
        # half a pair, and escapes that JSON does not have
        (b"\\ud83d", "\ufffd"),
        (b"\\ud83dx", "\ufffdx"),
        (b'\\ud83d\\"', '\ufffd"'),
        (b"\\ud83d\\ud83d\\ude00", "\ufffd\U0001f600"),
        (b"\\ude00\\ud83d", "\ufffd\ufffd"),
        (b"a\\x", "a\ufffd"),
        (b"a\\u12zb", "a\ufffdb"),
        (b"x" * 63 + b"\\u6a21" + b"y" * 190, "x" * 63 + "\u6a21" + "y" * 190),
    ],
)
def test_a_name_is_the_same_in_every_spelling_and_split(text, name):
    body = b'{"model":"' + text + b'"}'
    for at in range(len(body)):
        assert name_of(body, at) == name.encode(), at


def test_names_that_are_cut_are_still_told_apart_and_equal_no_whole_one():
    long = [b"x" * 256 + tail for tail in (b"a", b"b", b"ab", b"a" * 3000)]
    names = [name_of(b'{"model":"%s"}' % name) for name in long]
    assert {len(name) for name in names} == {256}
    assert len({*names, b"x" * 256}) == 5
    for name, cut in zip(long, names, strict=True):
        assert cut.startswith(b"x" * 239 + b"~")
        assert all(name_of(b'{"model":"%s"}' % name, at) == cut for at in (200, 264, 267, 269))


@pytest.mark.parametrize(
    ("body", "models", "is_veiled"),
    [
        (b'{"model":"a"}', 1, False),
        (b' {"model" : "a", "x": [1.5e-3, true, null, {"y\\"": "/*"}]}', 1, False),
        (b'{"model":"a","Model":"b"}', 1, True),
        (b'{"model":"a","\\u004dODEL":"b"}', 1, True),
        (b'{"model":"a","mod\\u0065l":"b"}', 2, False),
        (b'\xef\xbb\xbf{"model":"a"}', 1, True),
        (b'/*{*/{"model":"a"}', 0, True),
        (b'{/*"*/"model":"a"}', 0, True),
        (b'{"model":"a",//"\n"x":1}', 1, True),
        (b'{"model":"a","x":[/*"]*/1]}', 1, True),
        (b'{"model":"a","x":\'"\'}', 1, True),
        (b'{"model":"a",#"\n"x":1}', 1, True),
    ],
)
def test_what_other_parsers_may_read_in_another_way_is_veiled(body, models, is_veiled):
    for at in range(len(body)):
        probe = RequestScanProbe(NOTHING, is_strict=True)
        probe.feed(body[:at])
        probe.feed(body[at:])
        assert probe.doubts()[:2] == (models, is_veiled), at


@pytest.mark.parametrize("code", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_a_text_in_another_code_is_noticed(code):
    body = '{"stream":true}'.encode(code)
    for at in range(len(body)):
        probe = RequestScanProbe(USAGE)
        assert probe.feed(body[:at]) + probe.feed(body[at:]) == body
        assert probe.doubts()[2]


def test_n_is_bounded():
    _, probe = edit([b'{"n":123456789012345678901234567890}'], NOTHING)
    assert 1000 <= probe.seen()[2] <= 0xFFFF


KEYS = st.sampled_from(["stream", "stream_options", "include_usage", "model", "n", "messages",
                        "continuous_usage_stats", "x", "\u00e9"])  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def is_true(value):
    """Tell if it asks for usage: as pydantic reads a text, and any number but 0."""
    if isinstance(value, str):
        return value.lower() in ("1", "t", "y", "on", "yes", "true")
    return isinstance(value, int) and value != 0


@given(st.dictionaries(KEYS, VALUES, max_size=5), st.sampled_from([USAGE, RUNNING]), st.data())
def test_any_object_is_still_json_and_means_the_same_but_for_stream_options(
    body, usage_request, data
):
    text = json.dumps(body, ensure_ascii=data.draw(st.booleans())).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    out, probe = edit(parts, usage_request)
    sent = parse(out)
    assert len({key for key, _ in sent}) == len(sent), "a key twice"
    rest = {key: value for key, value in json.loads(out).items() if key != "stream_options"}
    assert rest == {key: value for key, value in body.items() if key != "stream_options"}
    if probe.edited:
        options = json.loads(out)["stream_options"]
        before = body.get("stream_options")
        own = before.get("include_usage") if isinstance(before, dict) else None
        assert repr(options["include_usage"]) == repr(own if is_true(own) else True)
        assert bool(probe.edited & BESIDE_CHOICES) <= (usage_request == RUNNING)
    else:
        assert out == text
    assert json.loads(probe.undo(out)) == body


# ---------------------------------------------------------------- one scan, whoever looks first


def all_of(probe):
    return probe.seen(), probe.doubts(), probe.offsets(), probe.edited


SAMPLES = [
    *(body for body, *_ in CASES),
    b'{"model":"a","messages":[{"user":"x"}],"user":"ann","stream":true}',
    b'{"metadata":{"user_id":"u","Model":1},"prompt":"p" , "model":"m\\u0065"}',
    b'{"prompt_cache_key":"","safety_identifier":"\\"s","input":7,"model":null,"model":"b"}',
]
MORE_JUNK = [*JUNK, b'"user":"', b'"metadata":{', b'"messages":[', b"null", b"fals", b"\0", b"\xff"]


@st.composite
def damaged(draw):
    body = draw(st.sampled_from(SAMPLES))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(body)))
        gone = draw(st.integers(0, 3))
        body = body[:at] + draw(st.sampled_from(MORE_JUNK)) + body[at + gone :]
    return body


@given(damaged(), st.sampled_from(range(5)), st.booleans(), st.data())
def test_pieces_and_looks_ahead_find_what_one_look_at_the_whole_does(
    body, usage_request, is_strict, data
):
    places = st.lists(st.integers(0, len(body)), max_size=5).map(sorted)
    whole = RequestScanProbe(usage_request, is_strict)
    expected = whole.feed(body)
    probe = RequestScanProbe(usage_request, is_strict)
    for end in data.draw(places):
        probe.read_ahead(body[:end])
    cuts = data.draw(places)
    out = b"".join(probe.feed(body[a:b]) for a, b in zip([0, *cuts], [*cuts, None], strict=True))
    assert out == expected
    assert all_of(probe) == all_of(whole)


@given(damaged(), st.sampled_from(range(5)))
def test_the_growth_of_a_body_that_is_all_here_is_known_before_it_passes(body, usage_request):
    probe = RequestScanProbe(usage_request)
    probe.read_ahead(body)
    growth = probe.growth()
    assert len(probe.feed(body)) - len(body) == growth


@pytest.mark.parametrize(
    ("body", "user", "prompt"),
    [
        (b'{"user":"ann","prompt":"p"}', b"ann", b'"p"'),
        (
            b'{"us\\u0065r":"a\\"n","messages":[1,{"user":"no"}] ,"x":1}',
            b'a\\"n',
            b'[1,{"user":"no"}] ',
        ),
        (b'{"input":true,"prompt":2,"metadata":{"user_id":"u"}}', b"u", b"true"),
        (b'{"user":["no"],"metadata":[{"user_id":"no"}]}', b"", b""),
        # no JSON, but the same in every split
        (b'{"messages":data: e"e":"user","x":"y"}', b"", b'data: e"e":"user"'),
    ],
)
def test_who_asks_and_the_prompt_are_offsets_of_raw_bytes(body, user, prompt):
    for k in range(len(body)):
        _, probe = edit([body[:k], body[k:]], NOTHING)
        (user_at, user_end), (prompt_at, prompt_end) = probe.offsets()
        assert body[user_at:user_end] == user
        assert body[prompt_at:prompt_end] == prompt


@given(st.binary(max_size=200), st.sampled_from([NOTHING, USAGE, RUNNING]))
def test_any_bytes_do_no_harm(data, usage_request):
    out, probe = edit([data], usage_request)
    if not probe.edited:
        assert out == data
