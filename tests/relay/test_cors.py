"""server.cors: preflights answered here, and responses that pages of listed origins may read."""

import pytest

from tests.support.exchanges import connected, streaming, waiting
from tests.support.keys import row, shows
from tests.support.script import SSE_HEAD, chunk, event, get, ok, play, post, split_head
from zeroproxy.config.cors import Cors

APP, OTHER = b"https://app.test", b"http://127.0.0.1:3000"
LISTED = Cors(origins=(APP.decode(), OTHER.decode()), headers=("Authorization", "X-A"), max_age=60)
ANY = Cors(origins=("*",))
ASKS = b"Access-Control-Request-Method: POST\r\n"


def origin(name: bytes) -> bytes:
    return b"Origin: %s\r\n" % name


def options(fields: bytes) -> bytes:
    return b"OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: a.test\r\n" + fields + b"\r\n"


def fields_of(head: bytes) -> dict[bytes, list[bytes]]:
    """Values by name, in small letters."""
    found: dict[bytes, list[bytes]] = {}
    for line in split_head(head)[0].split(b"\r\n")[1:]:
        name, _, value = line.partition(b": ")
        if name:
            found.setdefault(name.lower(), []).append(value)
    return found


def cors_of(head: bytes) -> dict[bytes, list[bytes]]:
    """The fields of CORS, and Vary."""
    return {
        name: values for name, values in fields_of(head).items()
        if name.startswith(b"access-control-") or name == b"vary"
    }  # fmt: skip


def read_by(name: bytes) -> dict[bytes, list[bytes]]:
    """The fields by which a browser lets a page of this origin read, where origins are listed."""
    return {
        b"access-control-allow-origin": [name],
        b"access-control-expose-headers": [b"*"],
        b"vary": [b"Origin"],
    }


READ_BY_ANY = {
    b"access-control-allow-origin": [b"*"],
    b"access-control-expose-headers": [b"*"],
}
UNREAD = {b"vary": [b"Origin"]}


@pytest.fixture
def script():
    with play() as s:
        s.engine.set_cors(LISTED)
        yield s


@pytest.fixture
def guarded(script):
    """The same, with keys."""
    script.engine.set_keys([row("sk-one", requests=1)])
    return script


# ---------------------------------------------------------------- preflights


def test_a_preflight_is_answered_here(guarded):
    d = guarded.downstream()
    d.send(options(origin(APP) + ASKS + b"Access-Control-Request-Headers: authorization\r\n"))
    answer = d.receive()
    assert answer.startswith(b"HTTP/1.1 204 No Content\r\n")
    assert cors_of(answer) == {
        **read_by(APP),
        b"access-control-allow-methods": [b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"],
        b"access-control-allow-headers": [b"Authorization, X-A"],
        b"access-control-max-age": [b"60"],
    }
    assert {b"content-length", b"content-type"}.isdisjoint(fields_of(answer))
    assert len(fields_of(answer)[b"x-request-id"]) == len(fields_of(answer)[b"date"]) == 1
    assert answer.endswith(b"\r\n\r\n")
    assert not guarded.has_connected()
    (record,) = guarded.records()
    assert (record["status"], record["tenant"], record["method"]) == (204, "", "OPTIONS")
    assert guarded.engine.snapshot()["auth"]["unknown"] == 0


def test_the_conn_of_a_preflight_goes_on(guarded):
    d = guarded.downstream()
    d.send(options(origin(APP) + ASKS) + post(extra=origin(APP) + shows("sk-one")))
    first = d.receive()
    assert first.startswith(b"HTTP/1.1 204 ")
    u = guarded.upstream()
    u.receive()
    u.send(ok())
    assert d.receive().startswith(b"HTTP/1.1 200 ")


def test_a_preflight_costs_no_quota_even_with_a_key(guarded):
    d = guarded.downstream()
    for _ in range(5):
        d.send(options(origin(APP) + ASKS + shows("sk-one")))
        assert d.receive().startswith(b"HTTP/1.1 204 ")
    assert not any(q["requests"]["used"] for q in guarded.engine.snapshot()["auth"]["quotas"]
                   if "requests" in q)  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [b"https://evil.test", b"null", b"https://app.test.evil.test", b"https://app.tes", APP + b"/",
     b"http://app.test", b"HTTPS://app.test", b"https://app.test:443", b"*"],
)  # fmt: skip
def test_a_preflight_of_another_origin_gets_no_permission(script, name):
    d = script.downstream()
    d.send(options(origin(name) + ASKS))
    answer = d.receive()
    assert answer.startswith(b"HTTP/1.1 204 ")
    assert cors_of(answer) == UNREAD


def test_any_origin_may_be_allowed(script):
    script.engine.set_cors(ANY)
    d = script.downstream()
    d.send(options(origin(b"https://who.test") + ASKS))
    assert cors_of(d.receive()) == {
        **READ_BY_ANY,
        b"access-control-allow-methods": [b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"],
        b"access-control-allow-headers": [b"*, Authorization"],
        b"access-control-max-age": [b"600"],
    }


@pytest.mark.parametrize(
    "request_",
    [options(b""), options(origin(APP)), options(ASKS), options(b"Origin:\r\n" + ASKS),
     get(extra=origin(APP) + ASKS)],
)  # fmt: skip
def test_what_is_no_preflight_goes_to_the_server(script, request_):
    d = script.downstream()
    d.send(request_)
    u = script.upstream()
    assert u.receive().startswith(request_.split(b" HTTP")[0])
    u.send(ok())
    assert d.receive().startswith(b"HTTP/1.1 200 ")


# ---------------------------------------------------------------- responses of the server


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (origin(APP), read_by(APP)),
        (origin(OTHER), read_by(OTHER)),
        (origin(b"https://evil.test"), UNREAD),
        (b"", UNREAD),
        (b"Origin:\r\n", UNREAD),
        (origin(APP) + origin(APP), UNREAD),
        (b"ORIGIN: " + APP + b"\r\n", read_by(APP)),
    ],
)
def test_a_response_can_be_read_by_listed_origins_only(script, fields, expected):
    d, u = waiting(script, post(extra=fields))
    u.send(ok())
    assert cors_of(d.receive()) == expected


@pytest.mark.parametrize(
    ("cors", "own", "expected"),
    [
        (LISTED, b"Access-Control-Allow-Origin: *\r\n", read_by(APP)),
        (LISTED, b"access-control-allow-origin: https://app.test\r\n"
                 b"access-control-allow-credentials: true\r\nVary: Accept-Encoding\r\n"
                 b"ACCESS-CONTROL-EXPOSE-HEADERS: x\r\naccess-control-max-age: 1\r\n",
         {**read_by(APP), b"vary": [b"Accept-Encoding", b"Origin"]}),
        (ANY, b"Access-Control-Allow-Origin: https://other.test\r\n"
              b"Access-Control-Allow-Origin: *\r\n", READ_BY_ANY),
        (LISTED, b"Access-Control-Foo: 1\r\nAccess-Controls: 2\r\n", read_by(APP)),
    ],
)  # fmt: skip
def test_the_servers_own_fields_are_not_doubled(script, cors, own, expected):
    script.engine.set_cors(cors)
    d, u = waiting(script, post(extra=origin(APP)))
    u.send(ok(extra=own))
    answer = d.receive()
    assert cors_of(answer) == expected
    assert (b"Access-Controls: 2\r\n" in answer) == (b"Access-Controls" in own)


def test_a_stream_can_be_read(script):
    d, u = waiting(script, post(extra=origin(APP)))
    u.send(SSE_HEAD + chunk(event()))
    answer = d.receive()
    assert cors_of(answer) == read_by(APP)
    assert split_head(answer)[1] == chunk(event())


def test_informational_responses_stay_as_they_are(script):
    d, u = waiting(script, post(extra=origin(APP)))
    u.send(b"HTTP/1.1 103 Early Hints\r\nAccess-Control-Allow-Origin: *\r\n\r\n")
    assert cors_of(d.receive()) == {b"access-control-allow-origin": [b"*"]}
    u.send(ok())
    assert cors_of(d.receive()) == read_by(APP)


@pytest.mark.parametrize(
    ("cors", "name", "goes_up"),
    [(LISTED, APP, False), (LISTED, b"https://evil.test", True), (ANY, b"https://who.test", False)],
)
def test_a_known_origin_ends_here(script, cors, name, goes_up):
    script.engine.set_cors(cors)
    _, u = connected(script, post(extra=origin(name)))
    assert (origin(name) in u.receive()) == goes_up


# ---------------------------------------------------------------- responses of the proxy


def test_an_error_of_a_key_can_be_read(guarded):
    d = guarded.downstream()
    d.send(post(extra=origin(APP)))
    answer = d.receive()
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert cors_of(answer) == read_by(APP)
    assert b"WWW-Authenticate: Bearer\r\n" in answer


def test_an_error_of_a_quota_can_be_read(guarded):
    _, u = waiting(guarded, post(extra=shows("sk-one")))
    u.send(ok())
    d = guarded.downstream()
    d.send(post(extra=origin(OTHER) + shows("sk-one")))
    answer = d.receive()
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"Retry-After: " in answer
    assert cors_of(answer) == read_by(OTHER)


def test_an_error_of_the_server_can_be_read(script):
    d, u = waiting(script, post(extra=origin(APP)))
    u.send(b"nonsense\r\n\r\n")
    answer = d.receive()
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert cors_of(answer) == read_by(APP)


def test_the_list_of_models_can_be_read(script):
    script.engine.set_models(b'{"object":"list","data":[]}\n')
    d = script.downstream()
    d.send(get(extra=origin(APP)))
    answer = d.receive()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert cors_of(answer) == read_by(APP)


@pytest.mark.parametrize(("cors", "expected"), [(LISTED, UNREAD), (ANY, READ_BY_ANY)])
def test_a_head_that_cannot_be_parsed_has_no_origin(script, cors, expected):
    script.engine.set_cors(cors)
    d = script.downstream()
    d.send(b"GET / HTTP/1.1\r\nHost: a b\r\n" + origin(APP) + b"\r\n")
    answer = d.receive()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert cors_of(answer) == expected


# ---------------------------------------------------------------- changes


def test_without_origins_nothing_is_added_or_taken(script):
    script.engine.set_cors(Cors())
    d, u = connected(script, post(extra=origin(APP)))
    assert origin(APP) in u.receive()
    u.send(ok(extra=b"Access-Control-Allow-Origin: *\r\n"))
    assert cors_of(d.receive()) == {b"access-control-allow-origin": [b"*"]}


def test_an_exchange_keeps_the_lines_of_its_start(script):
    d, u = waiting(script, post(extra=origin(APP)))
    for number in range(20):
        script.engine.set_cors(Cors(origins=(f"https://new{number}.test",)))
    script.engine.set_cors(Cors())
    u.send(ok())
    assert cors_of(d.receive()) == read_by(APP)


def test_a_change_counts_for_the_next_request(script):
    d, u = streaming(script, post(extra=origin(APP)))
    u.send(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
    d.receive()
    script.engine.set_cors(Cors(origins=(OTHER.decode(),)))
    d.send(post(extra=origin(APP)))
    u.receive()
    u.send(ok())
    assert cors_of(d.receive()) == UNREAD


def test_a_change_that_is_given_up_changes_nothing(script):
    with pytest.raises(ZeroDivisionError), script.engine.change() as change:
        change.set_cors(ANY)
        raise ZeroDivisionError
    d, u = waiting(script, post(extra=origin(APP)))
    u.send(ok())
    assert cors_of(d.receive()) == read_by(APP)


@pytest.mark.parametrize(
    ("kind", "message", "cors"),
    [
        (TypeError, "cors: Cors expected, not NoneType", None),
        (ValueError, "cors.origins: not visible ASCII", Cors(origins=("https://a\r\nX: y",))),
        (ValueError, "cors.origins: not visible ASCII", Cors(origins=("",))),
        (ValueError, "cors.headers: not visible ASCII", Cors(origins=("*",), headers=("a\n",))),
        (ValueError, "cors.origins: longer than 1024 bytes", Cors(origins=("x" * 1025,))),
        (ValueError, "cors.max_age: -1 is not in 0 to 86400", Cors(origins=("*",), max_age=-1)),
        (TypeError, "cors.max_age: int expected, not str", Cors(origins=("*",), max_age="1")),
    ],
)
def test_no_line_can_be_injected_by_a_setting(script, kind, message, cors):
    with pytest.raises(kind) as caught:
        script.engine.set_cors(cors)
    assert str(caught.value) == message


def test_a_preflight_without_headers_to_allow(script):
    script.engine.set_cors(Cors(origins=(APP.decode(),), headers=()))
    d = script.downstream()
    d.send(options(origin(APP) + ASKS))
    assert b"access-control-allow-headers" not in cors_of(d.receive())


def test_a_head_that_comes_byte_by_byte_is_judged_once(script):
    d = script.downstream()
    d.send_bytewise(options(origin(APP) + ASKS))
    assert cors_of(d.receive())[b"access-control-allow-origin"] == [APP]
    d.send_bytewise(post(extra=origin(OTHER)))
    u = script.upstream()
    u.receive()
    u.send(ok())
    assert cors_of(d.receive()) == read_by(OTHER)
