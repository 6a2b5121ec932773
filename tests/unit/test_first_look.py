"""A worker takes no request before it has looked at its endpoints once."""

import asyncio
import json

import pytest

from tests.support.ports import free_port
from tests.support.script_upstream import ScriptConn, ScriptRequest, ScriptUpstream
from tests.support.until import until
from zeroproxy.config.load import parse_config
from zeroproxy.policy import proxy_readiness
from zeroproxy.policy.socket_addresses import Address
from zeroproxy.server import worker as module
from zeroproxy.server.worker import Worker

BODY = b'{"model":"m","stream":true}'
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY)
) + BODY


class Server:
    """Names itself only once a caller has sent a request."""

    def __init__(self) -> None:
        self.caller_was_here = asyncio.Event()
        self.posted: list[bytes] = []

    async def __call__(self, request: ScriptRequest, conn: ScriptConn) -> None:
        body = b"{}"
        if request.target == b"/v1/models":
            await self.caller_was_here.wait()
            body = b'{"data":[{"id":"m","owned_by":"vllm"}]}'
        if request.method == b"POST":
            self.posted.append(request.body)
        await conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def config(url: str, port: int):
    return parse_config(
        f'[server]\nlisten = "127.0.0.1:{port}"\n[admin]\nlisten = ""\n[metering]\nledger = ""\n'
        f'[[upstream]]\nname = "u"\nendpoints = ["{url}"]\n'
    )


async def open_request(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
            continue
        writer.write(REQUEST)
        await writer.drain()
        return reader, writer


async def test_the_first_requests_are_asked_for_what_their_server_understands(monkeypatch):
    monkeypatch.setattr(module, "FIRST_ROUND", 60.0)
    server, port = Server(), free_port()
    async with ScriptUpstream(server) as script:
        worker = Worker(config(script.url, port))
        starting = asyncio.ensure_future(worker.start())
        reader, writer = await open_request(port)
        server.caller_was_here.set()
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        await starting
        (posted,) = server.posted
        asked = json.loads(posted)["stream_options"]
        assert asked == {"include_usage": True, "continuous_usage_stats": True}
        writer.close()
        await worker.stop(0)


async def test_readiness_is_probed_once_the_worker_serves(monkeypatch):
    phases: list[str] = []

    async def can_connect(_: Address) -> str:
        phases.append(worker.phase)
        return ""

    monkeypatch.setattr(proxy_readiness, "can_connect", can_connect)
    monkeypatch.setattr(module, "FIRST_ROUND", 0.05)
    worker = Worker(config("http://127.0.0.1:1", free_port()))
    await worker.start()
    await until(lambda: worker.ready()[0])
    assert phases == ["serving"]
    await worker.stop(0)


@pytest.mark.parametrize("mute", [False, True])
async def test_an_endpoint_that_says_nothing_holds_nobody_up_for_ever(monkeypatch, mute):
    monkeypatch.setattr(module, "FIRST_ROUND", 0.05)
    server, port = Server(), free_port()
    async with ScriptUpstream(server) as script:
        worker = Worker(config(script.url if mute else "http://127.0.0.1:1", port))
        await worker.start()
        assert worker.phase == "serving"
        await worker.stop(0)
