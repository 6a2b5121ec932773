"""Bodies that are of no use before their end: nobody is asked for anything until they are there."""

import pytest

from tests.support.exchanges import connected, waiting
from tests.support.script import EXPECT, Script, chunk, get, ok, play, post, split_head

JSON = b"Content-Type: application/json\r\n"
CHUNKED = b"POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n%s\r\n"
#: More than is held of a request.
LONG = 80_000


@pytest.fixture
def script():
    with play() as s:
        yield s


def connects(script: Script) -> int:
    return int(script.engine.snapshot()["upstreams"][0]["endpoints"][0]["connects"])


@pytest.mark.parametrize(
    "request_", [post(body=b"x" * 3000), CHUNKED % JSON + chunk(b"x" * 3000) + b"0\r\n\r\n"]
)
def test_a_body_leaves_when_it_is_whole_and_in_one_piece(script, request_):
    d = script.downstream()
    d.send(request_[:-3])
    assert connects(script) == 0
    d.send_bytewise(request_[-3:])
    u = script.upstream()
    head, body = split_head(u.receive())
    assert head.startswith(b"POST ")
    assert body.count(b"x") == 3000
    u.send(ok())
    assert d.receive().endswith(b"ok")


def test_the_next_request_may_already_wait_behind_it(script):
    d = script.downstream()
    both = post(body=b"12345") + get(b"/next")
    d.send(both[:-40])
    assert connects(script) == 0
    d.send(both[-40:])
    u = script.upstream()
    assert u.receive().endswith(b"\r\n\r\n12345")
    u.send(ok())
    assert d.receive().endswith(b"ok")
    assert b"GET /next " in u.receive()


def test_who_is_slow_takes_no_permit_from_the_others():
    with play(max_inflight=1) as script:
        slow = script.downstream()
        slow.send(post(body=b"12345")[:-2])
        d, u = waiting(script)
        u.send(ok())
        assert d.receive().endswith(b"ok")
        slow.send(b"45")
        assert u.receive().endswith(b"12345")


def test_a_body_that_stops_is_408_and_reaches_no_server():
    with play(limits={"header_timeout": 0.1, "body_timeout": 0.4}) as script:
        d = script.downstream()
        d.send(post(body=b"12345")[:-2])
        script.wait()
        assert d.receive().startswith(b"HTTP/1.1 408 ")
        d.close()
        (record,) = script.records()
        assert record["outcome"] == "downstream/head/timeout"
        assert record["bytes_in"] == 3
        assert record["total_ns"] > 0.4e9
        assert connects(script) == 0


def test_a_caller_who_leaves_half_way_leaves_a_record_and_nothing_else(script):
    d = script.downstream()
    d.send(post(body=b"12345")[:-2])
    d.close()
    assert script.outcome() == "downstream/head/closed"
    assert connects(script) == 0


@pytest.mark.parametrize("wrong", [b"zz\r\n", b"1;" + b"a" * 60_000, b"5\r\nhello0\r\n"])
def test_nonsense_never_reaches_a_server(script, wrong):
    d = script.downstream()
    d.put(CHUNKED % JSON)
    d.send(wrong)
    assert d.receive().startswith(b"HTTP/1.1 4")
    assert connects(script) == 0


def test_without_a_length_and_no_json_it_goes_on_from_its_first_byte(script):
    d = script.downstream()
    d.send(CHUNKED % b"")
    d.send(b"5;a=b\r\n")
    assert connects(script) == 0
    d.send(b"h")
    u = script.upstream()
    assert split_head(u.receive())[1] == b"1\r\nh\r\n"
    d.send(b"ello\r\n0\r\n\r\n")
    assert u.receive() == b"4\r\nello\r\n0\r\n\r\n"


@pytest.mark.parametrize("type_", [b"", JSON])
def test_more_than_is_held_goes_on_as_it_comes(script, type_):
    d = script.downstream()
    whole = post(body=b"x" * LONG, extra=type_)
    d.send(whole[:1000])
    u = script.upstream()
    found = u.receive()
    assert found.count(b"x") > 500
    d.send(whole[1000:])
    assert (found + u.receive()).endswith(b"x" * LONG)


def test_json_in_chunks_that_outgrows_it_goes_on_then(script):
    d = script.downstream()
    d.send(CHUNKED % JSON + chunk(b"x" * 30_000))
    assert connects(script) == 0
    d.send(chunk(b"x" * 50_000))
    u = script.upstream()
    found = u.receive()
    d.send(b"0\r\n\r\n")
    found += u.receive()
    assert split_head(found)[1].count(b"x") == 80_000
    assert found.endswith(b"0\r\n\r\n")


def test_who_waits_to_be_told_to_go_on_has_a_server_first(script):
    d, u = connected(script, split_head(post(body=b"12345", extra=EXPECT))[0])
    assert u.receive().startswith(b"POST ")
    assert d.receive() == b"HTTP/1.1 100 Continue\r\n\r\n"
    d.send(b"12345")
    assert u.receive() == b"12345"


def test_who_was_waited_for_when_the_proxy_stops_is_told(script):
    d = script.downstream()
    d.send(post(body=b"12345")[:-2])
    script.engine.close_all()
    assert d.receive().startswith(b"HTTP/1.1 503 ")
    assert script.outcome() == "ourselves/head/drained"
