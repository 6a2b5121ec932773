"""The cost that a request allows is reserved of its tokens before a server has it."""

import pytest

from tests.support.editing import json_post
from tests.support.keys import row, shows
from tests.support.script import ok, play, split_head

JSON = b"Content-Type: application/json\r\n"
PATH = b"/v1/chat/completions"
CHEAP = ok(b'{"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}', extra=JSON)
QUOTA = 1000


def learn(script, n=20):
    """The key has made cheap requests only."""
    d = script.downstream()
    u = None
    for _ in range(n):
        d.send(json_post(b'{"max_tokens":1}', extra=shows("k")))
        u = u or script.upstream()
        u.receive()
        u.send(CHEAP)
        assert d.receive().startswith(b"HTTP/1.1 200 ")
    d.close()
    u.close()


def status(d):
    answer = d.receive()
    return int(split_head(answer)[0].split()[1]) if answer else 0


def reserved(script):
    (quota,) = script.engine.snapshot()["auth"]["quotas"]
    return quota["reserved"]


@pytest.fixture
def script():
    with play() as s:
        s.engine.set_keys([row("k", name="caller", tokens=QUOTA)])
        learn(s)
        yield s


def let_in(script, body, path=PATH, n=8):
    """How many of `n` requests at once reach the server."""
    callers = [script.downstream() for _ in range(n)]
    for d in callers:
        d.send(json_post(body, path, shows("k")))
    found = [status(d) for d in callers]
    assert set(found) <= {0, 429}
    return found.count(0)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PATH, b'{"max_tokens":10000}'),
        (PATH, b'{"max_tokens":1,"max_completion_tokens":10000}'),
        (PATH, b'{"max_completion_tokens":1,"max_tokens":10000}'),
        (PATH, b'{"max_tokens":10000,"max_tokens":1}'),
        (PATH, b'{"max\\u005ftokens":10000}'),
        (PATH, b'{"max_tokens":"10000"}'),
        (PATH, b'{"max_tokens":1e4}'),
        (PATH, b'{ "max_tokens" : 10000.0 }'),
        (PATH, b'{"max_tokens":500,"n":20}'),
        (PATH, b'{"n":"20","messages":[{"n":1}],"max_tokens":500}'),
        (b"/v1/responses", b'{"max_output_tokens":10000}'),
        (b"/v1/messages", b'{"max_tokens":10000}'),
        (b"/completion", b'{"n_predict":10000}'),
        (b"/api/chat", b'{"options":{"seed":1,"num_predict":10000}}'),
        (b"/generate", b'{"parameters":{"a":{"b":[1]},"max_new_tokens":10000}}'),
        (b"/generate", b'{"sampling_params":{"max_new_tokens":500,"n":20}}'),
        (b"/worker_generate_stream", b'{"max_new_tokens":10000}'),
    ],
)
def test_a_bound_that_is_named_is_reserved(script, path, body):
    """A8: 400 at once, each of 10,000 tokens, passed a quota of 1,000."""
    assert let_in(script, body, path) == 1
    assert reserved(script) == QUOTA


@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"max_tokens":null}', b'{"max_tokens":1,"n_predict":-1}', b'{"max_tokens":"many"}'],
)
def test_what_names_none_is_reserved_for_as_if_nothing_was_known(script, body):
    assert let_in(script, body) == 4


def test_small_bounds_let_many_in(script):
    assert let_in(script, b'{"max_tokens":10,"messages":[{"max_tokens":9999}]}', n=40) == 40
    # And a quarter of the bytes of each.
    assert reserved(script) == 880


def test_what_writes_no_text_is_reserved_for_by_its_prompt(script):
    assert let_in(script, b'{"input":"x"}', b"/v1/embeddings", n=40) == 40
    assert reserved(script) == 120


@pytest.mark.parametrize(
    ("path", "body"),
    [(PATH, b'{"max_tokens":1,"p":"%s"}'), (b"/v1/embeddings", b'{"input":"%s"}')],
)
def test_a_long_prompt_is_reserved(script, path, body):
    """Bounds of 1, and 20 KB in front of each."""
    assert let_in(script, body % (b"x" * 20_000), path) == 1


def test_what_no_engine_works_on_is_reserved_for_by_habit(script):
    assert let_in(script, b'{"p":"%s"}' % (b"x" * 20_000), b"/tokenize", n=20) == 20


def test_heads_that_go_ahead_of_their_bodies_gain_nothing(script):
    """All of them had passed when the first bound was read."""
    callers = [script.downstream() for _ in range(40)]
    request = json_post(b'{"max_tokens":10000}', extra=shows("k"))
    for d in callers:
        d.send(request[:-10])
    script.turn()
    assert reserved(script) == 80
    for d in callers:
        d.send(request[-10:])
    found = [status(d) for d in callers]
    assert found.count(429) == 39


def test_a_bound_behind_a_long_body_is_answered_while_it_is_sent(script):
    """It is with a server by then, not whole: the server never gets its end."""
    body = b'{"messages":[{"content":"%s"}],"max_tokens":10000}' % (b"x" * 100_000)
    first, second = script.downstream(), script.downstream()
    request = json_post(body, extra=shows("k"))
    first.send(request[:-30])
    script.upstream().receive()
    second.send(request[:-30])
    u = script.upstream()
    u.receive()
    first.send(request[-30:])
    second.send(request[-30:])
    assert (status(first), status(second)) == (0, 429)
    u.receive()
    assert u.is_closed()


def test_what_was_reserved_is_settled_at_the_end(script):
    d = script.downstream()
    d.send(json_post(b'{"max_tokens":10000}', extra=shows("k")))
    u = script.upstream()
    u.receive()
    assert reserved(script) == QUOTA
    u.send(CHEAP)
    assert status(d) == 200
    assert reserved(script) == 0
    assert let_in(script, b'{"max_tokens":10000}', n=1) == 1


def test_without_a_quota_of_tokens_no_bound_matters():
    with play() as script:
        script.engine.set_keys([row("k", requests=100)])
        assert let_in(script, b'{"max_tokens":10000}') == 8
