"""Terms of a key on bodies, at every split: the same object but for the bound."""

import json
import random

import pytest

from tests.support.editing import CHUNKED, json_post, length_of, unchunk
from tests.support.keys import row, shows
from tests.support.script import EXPECT, chunk, ok, play, post, split_head
from tests.support.split import every_way, pieces

KEY = shows("k")
CHAT = b"/v1/chat/completions"
JSON = b"Content-Type: application/json\r\n"
CAP = {"max_tokens": 100}


def admits(script, **terms):
    script.engine.set_keys([row("k", name="caller", **terms)])


BODIES = [
    b'{"model":"m","messages":[{"role":"user","content":"\\"max_tokens\\":999"}],"max_tokens":5000}',
    b'{"max_tokens":12345678,"stream":true,"max_completion_tokens":99,"stream_options":null}',
    b'{"max_completion_tokens" : null , "max_tokens" : 9999 , "z" : {"max_tokens":1} }',
    b'{"stream":true,"options":{"num_predict":777,"seed":1},"n_predict":101}',
    b'{ }',
    b'{"max_tokens":999}  \r\n',
]  # fmt: skip


def wanted(body):
    """The chat body as the server has to get it, by another way of reading it."""
    obj = json.loads(body)
    out = json.loads(body)
    for name in ("max_tokens", "max_completion_tokens", "n_predict"):
        if isinstance(obj.get(name), int):
            out[name] = min(obj[name], 100)
    if "num_predict" in obj.get("options", {}):
        out["options"]["num_predict"] = min(obj["options"]["num_predict"], 100)
    for name in ("max_completion_tokens", "max_tokens"):
        if name in obj and obj[name] is None:
            out[name] = 100
    if "max_tokens" not in obj and "max_completion_tokens" not in obj:
        out["max_tokens"] = 100
    return out


def without_usage(obj):
    obj.pop("stream_options", None)
    return obj


def receive_as(how, script, parts, extra=b""):
    """The body as the server got it, sent in these pieces."""
    d = script.downstream()
    n = sum(map(len, parts))
    if how == "length":
        d.send(post(CHAT, b"", KEY + JSON + extra).replace(
            b"Content-Length: 0", b"Content-Length: %d" % n))  # fmt: skip
    else:
        more = KEY + (EXPECT if how == "passing" else b"")
        head = CHUNKED.replace(b"/v1/completions", CHAT)
        d.send(head.replace(b"Host: a\r\n", b"Host: a\r\n" + more))
    for part in parts:
        d.send(part if how == "length" else chunk(part))
    if how != "length":
        d.send(b"0\r\n\r\n")
    u = script.upstream()
    head, got = split_head(u.receive())
    if how == "length":
        assert length_of(head) == len(got)
    else:
        got = unchunk(got)
    u.send(ok(extra=b"Connection: close\r\n"))
    assert b"ok" in split_head(d.receive())[1]
    d.close()
    u.close()
    return got


@pytest.mark.parametrize("usage", ["nothing", "running"])
@pytest.mark.parametrize("how", ["length", "chunked", "passing"])
@pytest.mark.parametrize("body", BODIES)
def test_every_split_gives_the_same_object_but_for_the_bound(body, how, usage):
    with play(usage_request=usage) as script:
        admits(script, **CAP)
        ways = list(every_way(body))
        for parts in ways:
            got = json.loads(receive_as(how, script, parts))
            assert without_usage(got) == without_usage(wanted(body)), parts


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("lead", range(6))
def test_a_number_is_held_in_a_stream_that_is_under_way(size, lead):
    """The body does not fit the replay buffer: each piece goes on at once, but for open digits."""
    with play() as script:
        admits(script, **CAP)
        start = b'{"prompt":"%s"' % (b"x" * (80_000 + lead))
        end = b',"max_tokens":1234567,"max_completion_tokens":99,"n_predict":5000 }'
        body = start + end
        d = script.downstream()
        request = json_post(body, CHAT, KEY)
        d.send(request[: -len(end)])
        u = script.upstream()
        got = u.receive()
        for part in pieces(end, size):
            d.send(part)
            got += u.receive()
        head, got = split_head(got)
        assert length_of(head) == len(got)
        want = json.loads(body) | {"max_tokens": 100, "n_predict": 100}
        assert json.loads(got) == want
        u.send(ok())
        assert d.receive().endswith(b"ok")


def test_random_bodies_differ_in_their_bounds_only():
    """Objects with known and unknown members in any order, at a random split each."""
    dice = random.Random(7)
    values = [1, 99, 100, 101, 10**6, 10**12, 0]

    def any_value(depth=0):
        kinds = [None, True, 1.5, -3, "text", 'q"\\u00e9', dice.choice(values)]
        if depth < 3:
            kinds += [[any_value(depth + 1)], {"max_tokens": any_value(depth + 1)}, {}]
        return dice.choice(kinds)

    with play() as script:
        admits(script, **CAP)
        for _ in range(300):
            members = [(f"k{k}", any_value()) for k in range(dice.randrange(5))]
            names = ("max_tokens", "max_completion_tokens", "n_predict")
            members += [(name, dice.choice(values)) for name in names if dice.random() < 0.5]
            dice.shuffle(members)
            body = json.dumps(dict(members), ensure_ascii=dice.random() < 0.5,
                              indent=dice.choice([None, 1])).encode()  # fmt: skip
            cut = sorted(dice.sample(range(1, len(body)), min(3, len(body) - 1)))
            parts = [body[a:b] for a, b in zip([0, *cut], [*cut, len(body)], strict=True)]
            got = receive_as(dice.choice(["length", "chunked", "passing"]), script, parts)
            assert json.loads(got) == wanted(body), body
