"""Members of a body that an upstream refuses: found in every spelling, at every split."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.probes.usage import RequestScanProbe
from zeroproxy.config.surface import REFUSE_FIELDS

RULES = ("cache_salt", "priority", "bootstrap_*", "messages", "model", "stream", "n")


def named(parts, rules=RULES):
    probe = RequestScanProbe(0, refuses=rules)
    assert b"".join(probe.feed(part) for part in parts) == b"".join(parts)
    return probe.named()


def at_every_split(body, rules=RULES):
    """Rules met by a body whole, in two parts, and byte by byte: they have to be the same."""
    found = named([body], rules)
    for k in range(1, len(body)):
        assert named([body[:k], body[k:]], rules) == found, body[:k]
    assert named([body[k : k + 1] for k in range(len(body))], rules) == found
    return found


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"priority":1}', {"priority"}),
        (b'{"a":1,"priority":1}', {"priority"}),
        (b'{"a":1,"priority":1,"priority":2,"cache_salt":"x"}', {"priority", "cache_salt"}),
        (b'\xef\xbb\xbf \r\n\t{ \n"priority" : 1}', {"priority"}),
        (b'{"Priority":1,"CACHE_SALT":null}', {"priority", "cache_salt"}),
        (rb'{"\u0070riority":1}', {"priority"}),
        (rb'{"priorit\u0079":1,"c\u0061che\u005Fsalt":{}}', {"priority", "cache_salt"}),
        (rb'{"\u0050RIORITY":1}', {"priority"}),
        (b'{"bootstrap_host":"h"}', {"bootstrap_*"}),
        (b'{"bootstrap_":1}', {"bootstrap_*"}),
        (b'{"bootstrap_' + b"x" * 100 + b'":1}', {"bootstrap_*"}),
        (rb'{"boot\u0073trap_' + b"x" * 100 + b'":1}', {"bootstrap_*"}),
        (b'{"messages":[{"role":"user"}],"n":2}', {"messages", "n"}),
        (b'{"messages":"x","model":"m","stream":true}', {"messages", "model", "stream"}),
        (b'{"messages":[{"content":"\\"}],"}],"priority":1}', {"messages", "priority"}),
        (b'{"prompt":"' + b"p" * 200 + b'","priority":1}', {"priority"}),
        (b'{"stream_options":{"include_usage":true},"priority":1}', {"priority"}),
        (b'{"stream_options":{"priority":1}}', set()),
        (b'{"metadata":{"priority":1},"x":{"priority":1},"y":[{"priority":1}]}', set()),
        (b'{"a":"priority","b":["priority"],"c":"\\"priority\\":1"}', set()),
        (b'{"priorit":1,"priorityy":1,"bootstrap":1,"xbootstrap_a":1,"priority\\n":1}', set()),
        (b'{"":1,"p":1,"\\u0000":2}', set()),
        (b'{"a":1} {"priority":1}', set()),  # no server takes a second object
        (b'["priority"]', set()),
        (b'[{"priority":1}]', set()),
        (b'"priority"', set()),
    ],
)
def test_what_is_found(body, found):
    assert at_every_split(body) == found


def test_a_member_behind_any_number_of_others_is_found():
    body = {f"k{i}": [i, {"priority": "x" * i}] for i in range(60)} | {"priority": 1}
    assert named([json.dumps(body).encode()]) == {"priority"}
    body = b'{"messages":[' + b",".join([b'{"content":"' + b"x" * 4000 + b'"}'] * 40)
    assert named([body + b'],"priority":1}']) == {"messages", "priority"}


@pytest.mark.parametrize("rule", REFUSE_FIELDS)
def test_every_default_is_found_in_every_spelling(rule):
    name = rule.replace("*", "room")
    for k, c in enumerate(name):
        escaped = f"{name[:k]}\\u{ord(c):04x}{name[k + 1 :]}"
        assert named([b'{"a":1,"%s":1}' % escaped.encode()], REFUSE_FIELDS) == {rule}
    assert at_every_split(b'{"a":1,"%s":1}' % name.encode(), REFUSE_FIELDS) == {rule}


def test_without_names_nothing_is_looked_for():
    assert named([b'{"priority":1}'], ()) == set()


# ---------------------------------------------------------------- any body, any split

NAMES = st.sampled_from([
    "priority", "Priority", "cache_salt", "bootstrap_host", "bootstrap_", "bootstrap", "model",
    "messages", "stream", "stream_options", "metadata", "user", "n", "a", "priority_", "input",
    "temperature", "", "ü", "prio\nrity", 'prio"rity', "include_usage",
])  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
    | st.sampled_from(["priority", '"priority":1', "\\", '\\"', "]}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def expected(members):
    """The same by the rules in prose: a member's name, in any case, or its beginning."""
    found = set()
    for name, _ in members:
        for rule in RULES:
            plain = rule.removesuffix("*")
            if name.lower() == rule or (plain != rule and name.lower().startswith(plain)):
                found.add(rule)
    return found


def spelt(draw, name):
    """A name as JSON, some of its characters as escapes."""
    return '"' + "".join(
        f"\\u{ord(c):04x}" if ord(c) < 0x10000 and draw(st.booleans()) else json.dumps(c)[1:-1]
        for c in name
    ) + '"'  # fmt: skip


@given(st.data())
def test_any_body_at_any_split(data):
    members = data.draw(st.lists(st.tuples(NAMES, VALUES), max_size=8))
    is_ascii, blank = data.draw(st.booleans()), data.draw(st.sampled_from(["", " ", "\n\t"]))
    text = ",".join(
        f"{blank}{spelt(data.draw, name)}{blank}:{blank}"
        f"{json.dumps(value, ensure_ascii=is_ascii)}{blank}"
        for name, value in members
    )
    body = f"{blank}{{{text}}}".encode(errors="replace")
    assert len(json.loads(body, object_pairs_hook=list)) == len(members)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body)), max_size=5)) | {0, len(body)})
    parts = [body[a:b] for a, b in pairwise(cuts)]
    assert named(parts) == named([body[k : k + 1] for k in range(len(body))]) == expected(members)
