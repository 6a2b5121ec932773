"""Forms of keys that allow some models only: one part `model`, read alike by every server."""

import pytest

from tests.support.editing import form, parts
from tests.support.keys import row, shows
from tests.support.script import chunk, ok, play, post, split_head
from tests.support.settings import routes

PATH = b"/v1/audio/transcriptions"
TYPE = b"Content-Type: multipart/form-data; boundary=xYz\r\n"
MODEL = (b"model", b"small", b"")
FILE = (b"file", b"RIFF" * 40, b'; filename="a b.wav"\r\nContent-Type: audio/wav')


@pytest.fixture
def script():
    with play() as s:
        s.engine.set_keys([row("k", models=("small",))])
        yield s


def send(body, kind=TYPE):
    return post(PATH, body, kind + shows("k"))


def passes(script, request, pieces):
    d = script.downstream()
    if pieces:
        d.send_bytewise(request)
    else:
        d.send(request)
    u = script.upstream()
    assert split_head(u.receive())[1] == split_head(request)[1]
    u.send(ok())
    assert d.receive().startswith(b"HTTP/1.1 200 ")


DOTNET = (
    b'--"q"\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; '
    b'name=model\r\n\r\nsmall\r\n--"q"\r\nContent-Disposition: form-data; name=file; '
    b"filename=a.wav; filename*=utf-8''a.wav\r\n\r\nRIFF\r\n--\"q\"--\r\n"
).replace(b'"q"', b"q")
OKHTTP = (
    b'--q\r\nContent-Disposition: form-data; name="model"\r\nContent-Length: 5\r\n\r\nsmall\r\n'
    b'--q\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    b"Content-Type: audio/wav\r\nContent-Length: 4\r\n\r\nRIFF\r\n--q--\r\n"
)


@pytest.mark.parametrize("pieces", [False, True])
@pytest.mark.parametrize(
    "request_",
    [
        form(b"small", extra=shows("k")),
        send(parts(MODEL, FILE)),
        send(parts(FILE, MODEL, (b"language", b"en", b""))),
        send(parts(MODEL, (b"file", b"-\r\n--xY--x\r\n-" * 9, b'; filename="x"'))),
        send(parts(MODEL, (b"timestamp_granularities[]", b"word", b""))),
        send(DOTNET, b'Content-Type: multipart/form-data; boundary="q"\r\n'),
        send(OKHTTP, b"Content-Type: multipart/form-data;boundary=q\r\n"),
    ],
)
def test_a_form_with_one_allowed_model_passes(script, request_, pieces):
    passes(script, request_, pieces)


LINE = b'\r\nContent-Disposition: form-data; name="model"'


@pytest.mark.parametrize("pieces", [False, True])
@pytest.mark.parametrize(
    "request_",
    [
        form(b"large", extra=shows("k")),
        send(parts(FILE)),
        send(parts(MODEL, (b"model", b"large", b""))),
        send(parts(MODEL, (b"Model", b"large", b""))),
        send(parts(MODEL, (b'x"; name="model', b"large", b""))),
        send(parts(MODEL, (b"mod\\el", b"large", b""))),
        send(parts(MODEL, (b"x", b"large", b"; name*=utf-8''model"))),
        send(parts(MODEL, (b"x", b"large", b'; name*0="mo"; name*1="del"'))),
        send(parts(MODEL, (b"x", b"large", LINE))),
        send(parts(MODEL, (b"x", b"large", b"\r\n folded: 1"))),
        send(parts(MODEL, (b"_charset_", b"utf-16", b""))),
        send(parts((b"model", b"small", b"\r\nContent-Type: text/plain; charset=utf-7"))),
        send(parts((b"model", b"small", b"\r\nContent-Transfer-Encoding: base64"))),
        send(parts(MODEL, (b"x", b"1", b"")).replace(b'\r\n--xYz\r\n', b'\n--xYz\n', 1)),
        send(parts(MODEL).replace(b"small", b"small\n--xYz\r\nContent-Disposition: form-data; "
                                            b'name="model"\r\n\r\nlarge')),
        send(parts(MODEL, (b"x", b"1", b"")).replace(b'name="x"', b'name="model"')),
        send(parts(MODEL).replace(b"xYz--", b"xYz--\r\n--xYz" + LINE + b"\r\n\r\nlarge")),
        send(parts(MODEL), TYPE.replace(b"xYz", b"abc; boundary=xYz")),
        send(parts(MODEL), TYPE.replace(b"xYz", b"xYz; charset=utf-16")),
        send(parts(MODEL), TYPE.replace(b"xYz", b'"x\\Yz"')),
        send(parts(MODEL), TYPE.replace(b"boundary", b"boundary*0")),
    ],
)  # fmt: skip
def test_what_some_server_may_read_in_another_way_is_refused(script, request_, pieces):
    d = script.downstream()
    if pieces:
        d.send_bytewise(request_)
    else:
        d.send(request_)
    assert d.receive().startswith(b"HTTP/1.1 403 ")
    d.close()
    assert script.records()[0]["tenant"] == "t"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_second_model_far_behind_breaks_the_request_off(script, chunked):
    """The server has its start by then, and never gets its end."""
    body = parts(MODEL, (b"file", b"\0-" * 100_000, b""), (b"model", b"large", b""))
    d = script.downstream()
    if chunked:
        head = b"POST " + PATH + b" HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        request = head + TYPE + shows("k") + b"\r\n" + chunk(body) + b"0\r\n\r\n"
    else:
        request = send(body)
    d.send(request[:-60])
    u = script.upstream()
    u.receive()
    d.send(request[-60:])
    assert d.receive().startswith(b"HTTP/1.1 403 ")
    u.receive()
    assert u.is_closed()


def test_a_model_goes_by_its_other_name_and_is_watched_all_the_same(script):
    script.engine.set_routes(routes(("small", 0, "much-larger-name")), default=0)
    d = script.downstream()
    d.send_bytewise(send(parts(MODEL, FILE)))
    got = split_head(script.upstream().receive())[1]
    assert got == parts((b"model", b"much-larger-name", b""), FILE)
    d = script.downstream()
    d.send_bytewise(send(parts(MODEL, FILE, (b"model", b"large", b""))))
    assert d.receive().startswith(b"HTTP/1.1 403 ")
