"""Fields of response heads: Date (H4), and digests of a body that becomes another (H5)."""

import re
from email.utils import parsedate_to_datetime
from time import time

import pytest

from tests.probes.http1 import date_at
from tests.support.editing import LAST, RUNNING, TEXT, USAGE, json_post, unchunk
from tests.support.script import SSE_HEAD, chunk, event, get, ok, play, post, split_head
from tests.support.settings import routes

# ---------------------------------------------------------------- H4


def dates_in(head):
    return re.findall(rb"(?im)^date: ?(.*)\r$", head)


def demand_now(head):
    (date,) = dates_in(head)
    said = parsedate_to_datetime(date.decode())
    assert date == date_at(int(said.timestamp())), "as RFC 9110 5.6.7 spells it"
    assert -5 <= time() - said.timestamp() <= 60


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("status", [b"200 OK", b"404 No", b"500 Bad"])
def test_a_forwarded_answer_without_a_date_gets_one(status, version):
    with play() as script:
        d = script.downstream()
        d.send(get().replace(b"HTTP/1.1", b"HTTP/" + version))
        script.upstream().send(ok().replace(b"200 OK", status))
        demand_now(split_head(d.receive())[0])


def test_a_date_that_is_there_stays_alone():
    with play() as script:
        d = script.downstream()
        d.send(get())
        script.upstream().send(ok(extra=b"DATE: Sun, 06 Nov 1994 08:49:37 GMT\r\n"))
        head, _ = split_head(d.receive())
        assert dates_in(head) == [b"Sun, 06 Nov 1994 08:49:37 GMT"]


def test_an_interim_answer_gets_none():
    with play() as script:
        d = script.downstream()
        d.send(get())
        script.upstream().send(b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + ok())
        interim, rest = split_head(d.receive())
        assert dates_in(interim) == []
        demand_now(split_head(rest)[0])


def test_answers_of_our_own_have_one():
    with play() as script:
        script.engine.set_models(b"[]")
        d = script.downstream()
        d.send(get())
        demand_now(split_head(d.receive())[0])
        d.send(b"GET /\r\n\r\n")
        demand_now(split_head(d.receive())[0])
    with play(limits={"connections": 1}) as script:
        script.downstream()
        demand_now(split_head(script.downstream().receive())[0])


@pytest.mark.parametrize(
    ("when", "said"),
    [
        (0, b"Thu, 01 Jan 1970 00:00:00 GMT"),
        (784111777, b"Sun, 06 Nov 1994 08:49:37 GMT"),
        (951782400, b"Tue, 29 Feb 2000 00:00:00 GMT"),
        (253402300799, b"Fri, 31 Dec 9999 23:59:59 GMT"),
    ],
)
def test_it_is_spelled_as_the_rfc_says(when, said):
    assert date_at(when) == said


# ---------------------------------------------------------------- H5

DIGESTS = (
    b"Digest: SHA-256=x\r\nContent-Digest: sha-256=:x:\r\nRepr-Digest: sha-256=:x:\r\n"
    b'Content-MD5: x\r\nETag: "x"\r\nAccept-Ranges: bytes\r\n'
)
NAMES = [line.partition(b":")[0].lower() for line in DIGESTS.splitlines()]


def names_in(head):
    return [line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]]


@pytest.mark.parametrize("usage_request", [USAGE, RUNNING])
def test_an_answer_that_is_edited_names_no_digest_of_what_it_was(usage_request):
    with play(usage_request=usage_request) as script:
        d = script.downstream()
        d.send(json_post())
        head = SSE_HEAD.replace(b"\r\n\r\n", b"\r\n" + DIGESTS + b"\r\n")
        script.upstream().send(head + chunk(event(TEXT % b"") + event(LAST)) + b"0\r\n\r\n")
        head, body = split_head(d.receive())
        assert not set(NAMES) & set(names_in(head))
        assert unchunk(body) == event(TEXT % b"")


@pytest.mark.parametrize("request_", [post(), get(), json_post(b'{"stream":false}')])
def test_an_answer_that_is_not_edited_keeps_its_digests(request_):
    with play(usage_request=USAGE) as script:
        d = script.downstream()
        d.send(request_)
        script.upstream().send(ok(extra=DIGESTS))
        assert set(NAMES) <= set(names_in(split_head(d.receive())[0]))


@pytest.mark.parametrize("later", [False, True])
def test_a_request_whose_model_is_renamed_names_no_digest_of_what_it_was(later):
    with play(usage_request=USAGE) as script:
        script.engine.set_routes(routes(("m-1", 0, "real")), default=0)
        d = script.downstream()
        head, body = split_head(json_post(extra=DIGESTS + b"Signature: x\r\n"))
        if later:
            d.send(head)
            d.send_bytewise(body)
        else:
            d.send(head + body)
        head, body = split_head(script.upstream().receive())
        assert body.rstrip(b" ") == b'{"model":"real","stream":true}'
        assert not set(NAMES) & set(names_in(head))
        assert b"signature" in names_in(head)
