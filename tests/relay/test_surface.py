"""The surface of an upstream: what passes, however it is spelt, and the answer to what does not."""

import json

import pytest

from tests.support.keys import row, shows
from tests.support.script import EXPECT, get, ok, play, post
from tests.support.settings import routes
from tests.support.spellings import raw_path, spellings
from tests.support.surfaces import INFERENCE, ask, error, status, surface
from zeroproxy.config.surface import NEEDED, Surface, passes, rules_of

RULES = rules_of(Surface().paths)
UNLISTED = [
    b"/sleep", b"/collective_rpc", b"/update_weights", b"/metrics", b"/tokenize", b"/server_info",
    b"/v1/load_lora_adapter", b"/v1/unload_lora_adapter", b"/scale_elastic_ep", b"/api/pull",
    b"/api/delete", b"/slots", b"/props", b"/docs", b"/openapi.json", b"/x",
]  # fmt: skip
WEBSOCKET = (
    b"Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Key: x\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
)


def outcomes(script):
    return {record["outcome"] for record in script.records()}


# ---------------------------------------------------------------- every spelling


@pytest.mark.parametrize("path", UNLISTED)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_no_spelling_of_another_path_reaches_the_endpoint(path, method):
    """Forty and more; only those that are a listed path themselves pass, byte for byte."""
    with play() as script:
        script.engine.set_surfaces([INFERENCE])
        assert len(spellings(path)) >= 40
        for target in spellings(path):
            body = b"Content-Length: 2\r\n\r\n{}" if method == b"POST" else b"\r\n"
            answer, got = ask(script, b"%s %s HTTP/1.1\r\nHost: a\r\n%s" % (method, target, body))
            is_listed = passes(RULES, method.decode(), raw_path(target).decode("latin-1"))
            assert (got is not None) == is_listed, target
            if got is None:
                assert status(answer) in (400, 404, 405), target
        assert outcomes(script) <= {"downstream/head/surface", "downstream/head/malformed", "ok"}


@pytest.mark.parametrize("entry", [entry for needed in NEEDED.values() for entry in needed])
def test_every_listed_path_passes_as_it_is_and_in_no_other_spelling(entry):
    method, _, path = entry.partition(" ")
    path = path.replace("/*", "/a/b").encode()
    with play() as script:
        script.engine.set_surfaces([INFERENCE])
        extra = WEBSOCKET if method == "WEBSOCKET" else b""
        verb = "GET" if method == "WEBSOCKET" else method
        for target in spellings(path):
            request = b"%s %s HTTP/1.1\r\nHost: a\r\n%s\r\n" % (verb.encode(), target, extra)
            answer, got = ask(script, request)
            plain = raw_path(target)
            if got is None:
                is_target = target[:1] in b"/hH" and b"#" not in target
                assert plain != path or not is_target, (target, answer)
            else:
                assert passes(RULES, method, plain.decode()), target
                assert b"%" not in got.split(b" ")[1].partition(b"?")[0]


def test_the_engine_and_check_read_a_list_alike():
    """Prefixes and exact paths of one kind, any method, and what is behind a prefix."""
    entries = ("POST /a", "GET /a/*", "/b/*", "DELETE /a/b", "GET /", "PATCH /c.d/~e")
    rules = rules_of(entries)
    targets = [
        b"/", b"/a", b"/a/", b"/a/b", b"/a/b/c", b"/a/b/", b"/a//b", b"/a/.", b"/a/..", b"/a/...",
        b"/a/.b", b"/a/b%20", b"/a/b;c", b"/a/b:c@d,e=f+g!$&'()*~_-", b"/b", b"/b/", b"/b/c",
        b"/b/../a", b"/c.d/~e", b"/C.d/~e", b"/ab", b"/a?x", b"/a/b?%2e", b"http://h/a", b"http://h",
        b"http://h?x",
    ]  # fmt: skip
    with play() as script:
        script.engine.set_surfaces([surface(*entries)])
        for target in targets:
            for method in (b"GET", b"HEAD", b"POST", b"DELETE", b"PATCH", b"OPTIONS", b"PUT"):
                if (method, target) == (b"OPTIONS", b"http://h"):
                    continue  # it stands for "*"
                answer, got = ask(script, method + b" " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
                path = raw_path(target).decode()
                path = path or "/"
                assert (got is not None) == passes(rules, method.decode(), path), (method, target)
                if got is None:
                    known = any(passes(rules, m, path) for m in ("OPTIONS", "GET"))
                    assert status(answer) == (405 if known else 404), (method, target)


def test_without_a_surface_and_with_all_everything_passes():
    for surfaces in ([], [surface()]):
        with play() as script:
            if surfaces:
                script.engine.set_surfaces(surfaces)
            for target in (b"/sleep", b"/a%2Fb", b"/a//b", b"/a/../b", b"/a;b", b"*"):
                method = b"OPTIONS" if target == b"*" else b"GET"
                answer, got = ask(script, method + b" " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
                assert got.startswith(method + b" " + target + b" ")
                assert status(answer) == 200


def test_a_method_without_a_name_here_passes_only_where_all_do():
    with play() as script:
        script.engine.set_surfaces([surface("/any", "GET /some")])
        assert ask(script, b"PROPFIND /any HTTP/1.1\r\nHost: a\r\n\r\n")[1]
        answer, got = ask(script, b"PROPFIND /some HTTP/1.1\r\nHost: a\r\n\r\n")
        assert got is None
        assert status(answer) == 405
        assert ask(script, b"get /some HTTP/1.1\r\nHost: a\r\n\r\n")[1] is None


def test_the_server_itself_is_no_path():
    with play() as script:
        script.engine.set_surfaces([INFERENCE])
        for target in (b"*", b"http://other.test"):
            answer, got = ask(script, b"OPTIONS " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
            assert got is None
            assert status(answer) == 404


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        (b"/v1/nothing", {"error": {"message", "type", "param", "code"}}),
        (b"/v1/messages/nothing", {"type": None, "error": {"type", "message"}}),
        (b"/api/pull", {"error": None}),
        (b"/v2/models/m/infer", {"error": None, "error_type": None}),
    ],
)
def test_the_refusal_has_the_shape_of_its_path(path, shape):
    with play() as script:
        script.engine.set_surfaces([INFERENCE])
        answer, got = ask(script, post(path))
        assert got is None
        assert status(answer) == 404
        body = error(answer)
        assert set(body) == set(shape)
        for key, keys in shape.items():
            if keys:
                assert set(body[key]) == keys
        assert "This path is not served here." in json.dumps(body)
        assert script.outcome() == "downstream/head/surface"


@pytest.mark.parametrize(
    ("request_", "allow"),
    [
        (get(b"/v1/chat/completions"), b"POST, OPTIONS"),
        (post(b"/v1/models"), b"GET, HEAD, OPTIONS"),
        (b"PUT /v1/responses/r1 HTTP/1.1\r\nHost: a\r\n\r\n", b"GET, HEAD, POST, DELETE, OPTIONS"),
        (get(b"/v1/chat/completions", WEBSOCKET), b"POST, OPTIONS"),
    ],
)
def test_another_method_is_405_and_names_those_that_pass(request_, allow):
    with play() as script:
        script.engine.set_surfaces([INFERENCE])
        answer, got = ask(script, request_)
        assert got is None
        assert status(answer) == 405
        assert b"\r\nAllow: " + allow + b"\r\n" in answer
        assert script.outcome() == "downstream/head/surface"


def test_a_websocket_passes_where_it_is_listed_and_else_loses_its_upgrade():
    with play() as script:
        script.engine.set_surfaces([INFERENCE])
        assert b"Upgrade: websocket" in ask(script, get(b"/v1/realtime?model=m", WEBSOCKET))[1]
        assert b"pgrade" not in ask(script, get(b"/v1/models", WEBSOCKET))[1]
        answer, got = ask(script, get(b"/v1/realtime"))
        assert got is None
        assert status(answer) == 404
    with play() as script:
        script.engine.set_surfaces([surface("/v1/any")])
        assert b"Upgrade: websocket" in ask(script, get(b"/v1/any", WEBSOCKET))[1]


REFUSED = {
    "without a body": get(b"/sleep"),
    "with a length": post(b"/sleep", b"x" * 3000),
    "with chunks": b"POST /sleep HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n0\r\n\r\n",
    "by another method": post(b"/v1/models"),
}


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("split", [False, True])
def test_the_conn_stays_usable_where_the_body_was_read(request_, split):
    """Requests behind it in the same packet are served too."""
    with play() as script:
        script.engine.set_surfaces([INFERENCE])
        d = script.downstream()
        head, _, body = request_.partition(b"\r\n\r\n")
        if split:
            d.send(head[:20])
            d.send(head[20:] + b"\r\n\r\n" + body)
            answer = d.receive()
            d.send(get())
        else:
            d.send(request_ + get())
            answer = d.receive()
        assert status(answer) in (404, 405)
        assert b"Connection: close" not in answer
        u = script.upstream()
        assert u.receive().startswith(b"GET /v1/models ")
        u.send(ok())
        assert status(d.receive()) == 200
        assert [r["outcome"] for r in script.records()] == ["downstream/head/surface", "ok"]


@pytest.mark.parametrize(
    "request_",
    [
        post(b"/sleep", b"x" * 30)[:-1],
        post(b"/sleep", b"", EXPECT).replace(b"Content-Length: 0", b"Content-Length: 5"),
        b"POST /sleep HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"POST /sleep HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /sleep HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\nx",
        get(b"/sleep", b"Connection: close\r\n"),
        b"GET /sleep HTTP/1.0\r\n\r\n",
    ],
)
def test_else_it_is_answered_at_once_and_closed(request_):
    with play() as script:
        script.engine.set_surfaces([INFERENCE])
        d = script.downstream()
        d.send(request_)
        answer = d.receive()
        assert status(answer) == 404
        assert b"100 Continue" not in answer
        assert b"Connection: close\r\n" in answer
        d.close()
        assert script.outcome() == "downstream/head/surface"


# ---------------------------------------------------------------- upstreams and keys


def two(script):
    script.engine.set_routes(routes(("small", 0), ("big", 1)), default=None)


def test_a_known_model_leads_no_other_path_to_its_engine():
    """A JSON POST that named a model reached its engine, whatever the path."""
    with play(endpoints=2, upstreams=["a", "b"]) as script:
        two(script)
        script.engine.set_surfaces([INFERENCE, INFERENCE])
        for target in (b"/sleep", b"/app/login", b"/v1/chat/completion%73", b"/x"):
            d = script.downstream()
            d.send(post(target, b'{"model":"small"}'))
            assert status(d.receive()) == 404
            assert not script.has_connected(0)
            assert not script.has_connected(1)
            d.close()


def test_a_path_of_one_upstream_does_not_lead_to_another():
    """It is judged before the body is waited for, and again once the model is known."""
    with play(endpoints=2, upstreams=["a", "b"]) as script:
        two(script)
        script.engine.set_surfaces([surface("POST /x", "GET /w"), surface("POST /y", "/w")])
        d = script.downstream()
        d.send(post(b"/z", b'{"model":"small"}')[:-5])
        assert status(d.receive()) == 404  # nobody has it: the body is not waited for
        d.close()
        for path, model, is_passed in (
            (b"/x", b"small", True), (b"/x", b"big", False), (b"/y", b"small", False),
            (b"/y", b"big", True), (b"/w", b"small", False), (b"/w", b"big", True),
        ):  # fmt: skip
            d = script.downstream()
            d.send(post(path, b'{"model":"%s"}' % model))
            at = int(model == b"big")
            assert script.has_connected(at) == is_passed, (path, model)
            if is_passed:
                u = script.upstream(at)
                u.receive()
                u.send(ok(extra=b"Connection: close\r\n"))
                assert status(d.receive()) == 200
                u.close()
            else:
                answer = d.receive()
                assert status(answer) == (405 if path == b"/w" else 404)
            d.close()


def test_an_operators_key_passes_everything():
    with play() as script:
        script.engine.set_surfaces(
            [surface("POST /x", strip=("x-vllm-priority",), refuse=("priority",))]
        )
        script.engine.set_keys([row("op", surface="all"), row("user")])
        body = b'{"priority":1}'
        extra = b"X-Vllm-Priority: 1\r\n"
        got = ask(script, post(b"/sleep", body, extra + shows("op")))[1]
        assert b"X-Vllm-Priority: 1" in got
        assert got.endswith(body)
        assert status(ask(script, post(b"/sleep", body, extra + shows("user")))[0]) == 404
        assert status(ask(script, post(b"/x", body, extra + shows("user")))[0]) == 400
        assert b"riority" not in ask(script, post(b"/x", b"{}", extra + shows("user")))[1]
        assert status(ask(script, post(b"/sleep"))[0]) == 401  # strangers learn no paths


def test_a_reload_gives_and_takes_it():
    with play() as script:
        script.engine.set_surfaces([INFERENCE])
        script.engine.set_keys([row("k")])
        assert ask(script, get(b"/sleep", shows("k")))[1] is None
        script.engine.set_keys([row("k", surface="all")])
        assert ask(script, get(b"/sleep", shows("k")))[1]
        script.engine.set_keys([row("k")])
        assert ask(script, get(b"/sleep", shows("k")))[1] is None
        script.engine.set_surfaces([surface("GET /sleep")])
        assert ask(script, get(b"/sleep", shows("k")))[1]
        assert ask(script, get(b"/v1/models", shows("k")))[1] is None


def test_an_exchange_keeps_the_surface_under_which_its_head_came():
    body = b'{"model":"small","priority":1}'
    with play(endpoints=2, upstreams=["a", "b"]) as script:
        two(script)
        old = surface("POST /x", refuse=("priority",))
        script.engine.set_surfaces([old, old])
        d = script.downstream()
        d.send(post(b"/x", body)[: -len(body)])  # waits for the model
        script.engine.set_surfaces([surface("POST /y")] * 2)
        script.engine.set_surfaces([surface("POST /z")] * 2)
        d.send(body)
        assert error(d.receive())["error"]["param"] == "priority"
        d.send(post(b"/x", body))
        assert status(d.receive()) == 404


def test_the_list_of_models_that_the_proxy_answers_is_a_path_too():
    with play() as script:
        script.engine.set_models(b'{"data":[]}')
        script.engine.set_surfaces([INFERENCE])
        assert ask(script, get())[0].endswith(b'{"data":[]}')
        assert status(ask(script, get(b"/v1/model%73"))[0]) == 404
        script.engine.set_surfaces([surface("POST /x")])
        assert status(ask(script, get())[0]) == 404


def test_a_preflight_of_a_listed_path_passes():
    ask_first = b"Origin: http://o\r\nAccess-Control-Request-Method: POST\r\n"
    with play() as script:
        script.engine.set_surfaces([INFERENCE])
        script.engine.set_keys([row("k")])
        line = b"OPTIONS %s HTTP/1.1\r\nHost: a\r\n%s\r\n"
        assert ask(script, line % (b"/v1/chat/completions", ask_first))[1]
        assert status(ask(script, line % (b"/sleep", ask_first))[0]) == 404
