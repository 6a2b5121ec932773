"""Requests that are sent again on another conn, and those on which the endpoint may have worked.

A server that closes an idle conn has sent its FIN before it gets the request. So the end is here
within a round trip of the send (retry_facts.RACE_NS, 200 ms). A later end may follow from the
request.
"""

import ctypes
import socket
import struct
import time

import pytest

from tests.support.breakers import terms
from tests.support.exchanges import connected, waiting
from tests.support.script import Peer, Script, get, ok, play, post

#: Longer than any race (retry_facts.RACE_NS).
LATER = 0.25
SO_ATTACH_FILTER = 26
NOTICE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 4\r\n\r\nlate"


def reused(script: Script) -> tuple[Peer, Peer]:
    """A caller, and the endpoint's end of a conn that has served once."""
    d, u = connected(script)
    assert u.receive()
    u.send(ok())
    assert d.receive().startswith(b"HTTP/1.1 200 ")
    return d, u


def endpoint(script: Script) -> dict:
    return script.engine.snapshot()["upstreams"][0]["endpoints"][0]


# ---------------------------------------------------------------- the age of a race


def by_fin(u: Peer) -> None:
    u.close()


def by_reset(u: Peer) -> None:
    u.reset()


@pytest.mark.parametrize("attempts", [1, 2, 4])
@pytest.mark.parametrize("how", [by_fin, by_reset])
def test_a_post_that_was_worked_on_is_not_sent_again(how, attempts):
    with play(attempts=attempts, breaker=terms(failures=1)) as script:
        d, u = reused(script)
        d.send(post(body=b"poison"))
        assert u.receive().endswith(b"poison")
        time.sleep(LATER)
        how(u)
        assert d.receive().startswith(b"HTTP/1.1 502 ")
        assert not script.has_connected()
        e = endpoint(script)
        assert (e["stale_retries"], e["retries_withheld"]) == (0, 1)
        # It tells of the endpoint, and nothing of how long it keeps an idle conn.
        assert e["breaker"]["in_a_row"] == 1
        assert e["pool"]["seen_idle_s"] == 0
        assert script.records()[-1]["tried"] == 1


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_post_whose_conn_ends_at_once_is_sent_again(attempts):
    with play(attempts=attempts, breaker=terms(failures=1)) as script:
        d, u = reused(script)
        d.send(post(body=b"raced"))
        u.receive()
        u.close()
        again = script.upstream()
        assert again.receive().endswith(b"raced")
        again.send(ok())
        assert d.receive().startswith(b"HTTP/1.1 200 ")
        e = endpoint(script)
        assert (e["stale_retries"], e["retries_withheld"]) == (1, 0)
        assert e["breaker"]["in_a_row"] == 0


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"])
def test_what_may_be_done_twice_is_sent_again_however_late(method):
    with play(attempts=1) as script:
        d, u = reused(script)
        d.send(get().replace(b"GET", method))
        assert u.receive().startswith(method)
        time.sleep(LATER)
        u.close()
        again = script.upstream()
        assert again.receive().startswith(method)
        again.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert d.receive().startswith(b"HTTP/1.1 204 ")
        e = endpoint(script)
        assert (e["stale_retries"], e["retries_withheld"]) == (1, 0)
        assert e["pool"]["seen_idle_s"] == 0


@pytest.mark.parametrize("method", [b"POST", b"PATCH", b"BREW"])
def test_no_other_method_is_sent_again_late(method):
    with play(attempts=2) as script:
        d, u = reused(script)
        d.send(post().replace(b"POST", method))
        assert u.receive().startswith(method)
        time.sleep(LATER)
        u.close()
        assert d.receive().startswith(b"HTTP/1.1 502 ")
        assert not script.has_connected()


def test_a_long_request_that_could_not_be_sent_again_is_not_counted_as_withheld():
    with play() as script:
        d = script.downstream()
        body = b"x" * 100_000
        d.send_some(post(body=body))
        u = script.upstream()
        assert u.receive()
        time.sleep(LATER)
        u.close()
        assert d.receive().startswith(b"HTTP/1.1 502 ")
        assert endpoint(script)["retries_withheld"] == 0


class TcpScript(Script):
    """Its endpoints are on TCP: there the kernel shows what was acknowledged."""

    def _listen(self, name: str, backlog: int) -> socket.socket:
        source = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        source.setblocking(False)
        return source

    @staticmethod
    def _sockaddr(source: socket.socket) -> bytes:
        host, port = source.getsockname()
        return struct.pack("=H", socket.AF_INET) + struct.pack(
            "!H4s8x", port, socket.inet_aton(host)
        )


@pytest.fixture
def tcp():
    script = TcpScript({}, {"attempts": 1}, 1)
    try:
        yield script
    finally:
        script.close()
    script.demand_zero()


def lose_all(sock: socket.socket) -> None:
    """From now on every segment that comes is dropped before TCP sees it, and none acknowledged: a
    classic BPF program of one instruction, "return 0"."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    address = ctypes.addressof(program)
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 1, address))


def test_a_post_of_which_nothing_was_acknowledged_is_sent_again_however_late(tcp):
    """The way to the endpoint was cut before the request came, and the reset arrives late."""
    d, u = reused(tcp)
    lose_all(u.sock)
    d.send(post(body=b"unread"))
    time.sleep(LATER)
    u.reset()
    again = tcp.upstream()
    assert again.receive().endswith(b"unread")
    again.send(ok())
    assert d.receive().startswith(b"HTTP/1.1 200 ")
    assert endpoint(tcp)["stale_retries"] == 1


def test_over_tcp_too_a_post_that_was_acknowledged_is_not_sent_again(tcp):
    d, u = reused(tcp)
    d.send(post(body=b"poison"))
    assert u.receive().endswith(b"poison")
    time.sleep(LATER)
    u.reset()
    assert d.receive().startswith(b"HTTP/1.1 502 ")
    assert not tcp.has_connected()


# ---------------------------------------------------------------- the notice of an idle timeout


@pytest.mark.parametrize("attempts", [1, 2])
@pytest.mark.parametrize("closes", [True, False])
def test_a_408_in_place_of_an_answer_on_a_reused_conn_is_no_answer(attempts, closes):
    with play(attempts=attempts, breaker=terms(failures=1)) as script:
        d, u = reused(script)
        d.send(post(body=b"asked"))
        assert u.receive().endswith(b"asked")
        u.put(NOTICE)
        if closes:
            u.sock.close()
        again = script.upstream()
        assert again.receive().endswith(b"asked")
        again.send(ok())
        assert d.receive().startswith(b"HTTP/1.1 200 ")
        e = endpoint(script)
        assert e["stale_retries"] == 1
        assert e["breaker"]["in_a_row"] == 0
        assert closes or u.is_closed()


def test_a_408_in_pieces_is_no_answer_either():
    with play() as script:
        d, u = reused(script)
        d.send(post(body=b"asked"))
        u.receive()
        u.send(NOTICE[:30])
        u.send(NOTICE[30:])
        again = script.upstream()
        assert again.receive().endswith(b"asked")
        again.send(ok())
        assert d.receive().startswith(b"HTTP/1.1 200 ")


def late(u: Peer) -> None:
    time.sleep(LATER)
    u.send(NOTICE)


def that_stays(u: Peer) -> None:
    u.send(NOTICE.replace(b"Connection: close\r\n", b""))


def behind_another_word(u: Peer) -> None:
    u.send(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + NOTICE)


@pytest.mark.parametrize("how", [late, that_stays, behind_another_word])
def test_any_other_408_is_the_callers(how):
    with play() as script:
        d, u = reused(script)
        d.send(post(body=b"asked"))
        u.receive()
        how(u)
        assert b"HTTP/1.1 408 " in d.receive()
        assert not script.has_connected()


def test_a_408_on_a_new_conn_is_the_callers():
    with play() as script:
        d, u = waiting(script)
        u.send(NOTICE)
        assert d.receive().startswith(b"HTTP/1.1 408 ")
        assert not script.has_connected()


def test_a_second_408_is_the_callers():
    with play(attempts=3) as script:
        d, u = reused(script)
        d.send(post())
        u.receive()
        u.send(NOTICE)
        again = script.upstream()
        again.receive()
        again.send(NOTICE)
        assert d.receive().startswith(b"HTTP/1.1 408 ")
        assert [r["tried"] for r in script.records()] == [1, 2]
