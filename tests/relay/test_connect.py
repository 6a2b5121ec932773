"""A connect that is done when it returns, as over loopback: nobody waits for a report of it."""

import socket
import struct
from contextlib import closing

import pytest

from tests.support.script import Script, get, ok, post


class OverTcp(Script):
    """Endpoints on loopback TCP, whose connect returns EINPROGRESS all the same."""

    def _listen(self, name, backlog):
        source = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        source.setblocking(False)
        return source

    @staticmethod
    def _sockaddr(source):
        host, port = source.getsockname()
        ports = struct.pack("=H", socket.AF_INET) + struct.pack("!H", port)
        return ports + socket.inet_aton(host) + bytes(8)


@pytest.fixture(params=[Script, OverTcp])
def script(request):
    script = request.param({}, {}, 1)
    yield script
    script.close()
    script.demand_zero()


def test_the_request_is_sent_in_the_turn_that_connects(script):
    d = script.downstream()
    d.put(post())
    script.engine.on_ready()
    with closing(script.sources[0].accept()[0]) as up:
        assert up.recv(1 << 16).endswith(b"\r\n\r\n{}")
        up.sendall(ok())
        assert d.receive().endswith(b"ok")
        d.send(get())
        up.sendall(ok())
        assert d.receive().endswith(b"ok")
    new, reused = script.records()
    assert (new["outcome"], reused["outcome"]) == ("ok", "ok")
    assert new["connect_ns"] > 0
    assert reused["connect_ns"] == 0
    script.turn()


def test_an_endpoint_that_is_not_there_is_refused_as_ever(script):
    script.sources[0].close()
    d = script.downstream()
    d.send(get())
    assert d.receive().startswith(b"HTTP/1.1 502 ")
    assert script.outcome() == "upstream/connecting/refused"
