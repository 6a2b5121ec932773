"""Bodies with a member that the upstream does not get: refused, wherever in the body it is."""

import json

import pytest

from tests.support.exchanges import waiting
from tests.support.keys import row, shows
from tests.support.script import EXPECT, SSE_HEAD, chunk, event, ok, play, post, split_head
from tests.support.settings import routes
from tests.support.surfaces import INFERENCE, surface

BAD = b'{"model":"m","messages":[],"priority":1}'
GOOD = b'{"model":"m","messages":[]}'
SALT = surface(refuse=("cache_salt", "priority", "bootstrap_*"))
#: More than the replay buffer holds: such a body is passed on as it comes.
LONG = b'{"model":"m","messages":[{"role":"user","content":"' + b"x" * 150_000 + b'"}]'


@pytest.fixture
def script():
    with play() as script:
        script.engine.set_surfaces([SALT])
        yield script


def chunked(*parts):
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    kind = b"Content-Type: application/json\r\n\r\n"
    return head + kind + b"".join(map(chunk, parts)) + b"0\r\n\r\n"


def refusal(answer):
    head, body = split_head(answer)
    assert head.startswith(b"HTTP/1.1 400 "), answer
    return json.loads(body)


# ---------------------------------------------------------------- bodies that are held


@pytest.mark.parametrize(
    "request_",
    [
        post(body=BAD),
        post(body=BAD, extra=b"Content-Type: application/json\r\n"),
        post(body=BAD, extra=b"Content-Type: text/plain\r\n"),
        post(body=BAD, extra=b"Content-Type: application/x-www-form-urlencoded\r\n"),
        post(body=BAD, extra=b"Content-Type: multipart/form-data; boundary=b\r\n"),
        post(body=b" \r\n\t" + BAD),
        post(body=b"\xef\xbb\xbf" + BAD),
        post(body=b"\xef\xbb\xbf \n" + BAD),
        post(body=b"\xef\xbb\xbf\t" + BAD, extra=b"Content-Type: text/plain\r\n"),
        post(body=BAD.replace(b"priority", rb"\u0070riorit\u0079")),
        post(body=BAD.replace(b"priority", b"PRIORITY")),
        post(body=BAD.replace(b'"priority":1', b'"priority":1,"priority":null')),
        post(body=b'{"messages":[],"model":"m","priority":{"a":[]}}'),
        chunked(BAD),
        chunked(BAD[:30], BAD[30:35], BAD[35:]),
    ],
)
@pytest.mark.parametrize("step", [0, 1, 700])
def test_it_never_reaches_the_endpoint_and_the_conn_stays(script, request_, step):
    d = script.downstream()
    head, body = split_head(request_)
    if step == 1:
        d.send_bytewise(request_)
    elif step:
        d.send(head)
        d.send(body)
    else:
        d.send(request_)
    answer = d.receive()
    found = refusal(answer)["error"]
    assert found["param"] == "priority"
    assert found["code"] == "unknown_parameter"
    assert found["type"] == "invalid_request_error"
    assert found["message"] == "The body has a member that is not allowed here: priority."
    assert not script.has_connected()
    assert script.outcome() == "downstream/head/surface"
    if step != 1:
        assert b"Connection: close" not in answer
        d.send(post(body=GOOD))
        assert split_head(script.upstream().receive())[1] == GOOD


@pytest.mark.parametrize("size", [1, 40, 4000])
def test_the_requests_behind_it_are_served(script, size):
    """Pipelined, the last one in parts."""
    d = script.downstream()
    bad = post(body=BAD[:-1] + b',"x":"' + b"y" * size + b'"}')
    d.send(bad + bad + post(body=GOOD)[:-4])
    assert d.receive().count(b"HTTP/1.1 400 ") == 2
    d.send(GOOD[-4:])
    u = script.upstream()
    assert split_head(u.receive())[1] == GOOD
    u.send(ok())
    assert d.receive().endswith(b"ok")
    outcomes = [record["outcome"] for record in script.records()]
    assert outcomes == ["downstream/head/surface"] * 2 + ["ok"]


@pytest.mark.parametrize(
    ("path", "find"),
    [
        (b"/v1/messages", lambda body: body["error"]["message"]),
        (b"/v1/responses", lambda body: body["error"]["message"]),
        (b"/api/chat", lambda body: body["error"]),
        (b"/generate", lambda body: body["error"]),
        (b"/worker_generate", lambda body: body["text"]),
    ],
)
def test_every_dialect_names_the_member(script, path, find):
    d = script.downstream()
    d.send(post(path, b'{"bootstrap_room":7}'))
    text = "The body has a member that is not allowed here: bootstrap_*."
    assert find(refusal(d.receive())) == text


def test_members_elsewhere_and_other_names_pass(script):
    body = b'{"metadata":{"priority":1},"messages":[{"priority":1}],"prioritys":"priority"}'
    assert split_head(waiting(script, post(body=body))[1].receive() or body)[0]
    d = script.downstream()
    d.send(post(body=body))
    assert split_head(script.upstream().receive())[1] == body


def test_a_body_that_no_server_reads_as_json_passes(script):
    form = b'--b\r\nContent-Disposition: form-data; name="priority"\r\n\r\n1\r\n--b--\r\n'
    kind = b"Content-Type: multipart/form-data; boundary=b\r\n"
    assert split_head(waiting(script, post(body=form, extra=kind))[1].receive() or form)
    for body, extra in ((b"plain priority", b""), (b"\x00\x00\x00\x20ftyp", b""), (b"", b"")):
        d = script.downstream()
        d.send(post(body=body, extra=extra))
        assert split_head(script.upstream().receive())[1] == body


@pytest.mark.parametrize("kind", [b"", b"Content-Type: text/plain\r\n"])
@pytest.mark.parametrize("code", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_what_hides_the_members_is_refused(script, kind, code):
    d = script.downstream()
    d.send(post(body=BAD.decode().encode(code), extra=kind))
    assert refusal(d.receive())["error"]["message"] == "A JSON body must be encoded in UTF-8."
    assert not script.has_connected()


@pytest.mark.parametrize("coding", [b"gzip", b"identity, zstd"])
def test_a_coded_body_cannot_be_read(script, coding):
    d = script.downstream()
    d.send(post(body=b"\x1f\x8b", extra=b"Content-Encoding: %s\r\n" % coding))
    assert d.receive().startswith(b"HTTP/1.1 415 ")
    assert not script.has_connected()


def test_blanks_in_front_of_the_object_hide_nothing(script):
    """The first byte that counts was looked for in 64 KiB."""
    body = b" " * 70_000 + BAD
    d = script.downstream()
    d.send(post(body=body, extra=b"Content-Type: text/plain\r\n"))
    assert refusal(d.receive())["error"]["param"] == "priority"
    d.close()
    assert script.outcome().endswith("/surface")


# ---------------------------------------------------------------- bodies that are passed on


@pytest.mark.parametrize("tail", [b',"priority":1}', rb',"x":[1],"p\u0072iority":1}'])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_behind_the_part_that_is_held_the_exchange_is_broken_off(script, tail, is_chunked):
    """The endpoint has the beginning of a body, and never its end."""
    body = LONG + tail
    request = chunked(LONG, tail) if is_chunked else post(body=body)
    end = request.rindex(tail)
    d = script.downstream()
    sent = d.send_some(request[:end])
    u = script.upstream()
    got = u.receive()
    while sent < end:
        sent += d.send_some(request[sent:end])
        got += u.receive()
    d.send(request[end:])
    got += u.receive()
    assert refusal(d.receive())["error"]["param"] == "priority"
    assert u.is_closed()
    assert b"riority" not in got
    assert b"\r\n0\r\n\r\n" not in got
    assert is_chunked or len(split_head(got)[1]) < len(body)
    d.close()
    assert script.outcome() == "downstream/waiting/surface"


def test_at_every_split_of_a_name_behind_the_held_part(script):
    tail = b',"cache_salt":""}'
    request = post(body=LONG + tail)
    for k in range(1, len(tail)):
        d = script.downstream()
        sent, got, end = 0, b"", len(request) - len(tail) + k
        u = None
        while sent < end:
            sent += d.send_some(request[sent:end])
            if u is None and script.has_connected():
                u = script.upstream()
            got += u.receive() if u else b""
        d.send(request[end:])
        assert refusal(d.receive())["error"]["param"] == "cache_salt", k
        assert b'cache_salt"' not in got + u.receive()
        d.close()
        u.close()
    assert {r["outcome"] for r in script.records()} == {"downstream/waiting/surface"}


def test_an_endpoint_that_answers_early_gets_no_more_of_the_body(script):
    """The answer's meter takes the place of the scan. The answer itself is whole."""
    d = script.downstream()
    head, body = split_head(post(body=LONG + b',"priority":1}', extra=EXPECT))
    d.send(head)
    assert b"100 Continue" in d.receive()
    d.send(body[:1000])
    u = script.upstream()
    got = u.receive()
    u.send(SSE_HEAD + chunk(event()))
    answer = d.receive()
    sent = 1000
    for _ in range(20):
        sent += d.send_some(body[sent:])
        got += u.receive()
    assert split_head(got)[1] == body[:1000]
    u.send(chunk(event()) + b"0\r\n\r\n")
    answer += d.receive()
    assert answer.count(b"data: ") == 2
    assert answer.endswith(b"0\r\n\r\n")
    assert u.is_closed()


# ---------------------------------------------------------------- upstreams and keys


def test_each_upstream_refuses_its_own():
    with play(endpoints=2, upstreams=["a", "b"]) as script:
        script.engine.set_routes(routes(("a", 0), ("b", 1)), default=None)
        script.engine.set_surfaces(
            [surface(refuse=("one", "both")), surface(refuse=("BOTH", "two"))]
        )
        for model, member, is_refused in (
            ("a", "one", True), ("a", "two", False), ("a", "both", True),
            ("b", "one", False), ("b", "two", True), ("b", "both", True),
        ):  # fmt: skip
            for body in ({"model": model, member: 1}, {member: 1, "model": model}):
                d = script.downstream()
                d.send(post(body=json.dumps(body).encode()))
                at = int(model == "b")
                assert script.has_connected(at) != is_refused, body
                if is_refused:
                    assert refusal(d.receive())["error"]["param"].lower() == member
                else:
                    u = script.upstream(at)
                    u.receive()
                    u.send(ok(extra=b"Connection: close\r\n"))
                    u.close()
                d.close()


def test_a_member_under_a_token_quota_costs_nothing():
    with play() as script:
        script.engine.set_surfaces([SALT])
        script.engine.set_keys([row("k", tokens=1000)])
        d = script.downstream()
        d.send(post(body=BAD[:-1] + b',"max_tokens":900}', extra=shows("k")))
        assert refusal(d.receive())["error"]["param"] == "priority"
        (quota,) = (q for q in script.engine.quotas() if q["quota"] == "tokens")
        assert quota["level"] == pytest.approx(1000, rel=0.01)


def test_the_default_of_a_configuration():
    with play() as script:
        script.engine.set_surfaces([INFERENCE])
        d = script.downstream()
        for member in ("kv_transfer_params", "cache_salt", "priority", "vllm_xargs", "rid",
                       "bootstrap_host", "bootstrap_port", "bootstrap_room", "routed_dp_rank",
                       "session_params", "custom_logit_processor", "lora_path"):  # fmt: skip
            d.send(post(body=b'{"model":"m","%s":1}' % member.encode()))
            found = refusal(d.receive())["error"]["param"]
            assert found in (member, "bootstrap_*")
        assert not script.has_connected()
