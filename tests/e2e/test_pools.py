"""Pools of a real process over TCP: warm before ready, races unseen, keep-alive learned, caps."""

import asyncio
import http.server
import json
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

import zeroproxy
from tests.support.keepalive_server import HOWS, KeepaliveServer
from tests.support.ports import free_port
from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.servers import ServerProcess
from tests.support.until import until
from zeroproxy.config.load import parse_config
from zeroproxy.policy import socket_addresses as addresses

RACES = 1000


def quiet_toml(url: str, **more: str) -> str:
    """Nobody asks the endpoint anything but its callers."""
    return upstream_toml(url, health='{ path = "" }', **more) + "[metering]\ninject_usage = false\n"


async def post_all(url: str, bodies: list[bytes], callers: int) -> list[tuple[int, bytes, bytes]]:
    """Every body posted once; (status, what was sent, what came back)."""
    left, found = list(reversed(bodies)), []

    async def call(session: aiohttp.ClientSession) -> None:
        while left:
            body = left.pop()
            async with session.post(f"{url}/v1/chat/completions", data=body) as response:
                found.append((response.status, body, await response.read()))

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(call(session) for _ in range(callers)))
    return found


def first_endpoint(status: dict) -> dict:
    return status["upstreams"][0]["endpoints"][0]


# ---------------------------------------------------------------- the race


@pytest.mark.parametrize("callers", [1, 8])
@pytest.mark.parametrize("how", HOWS)
def test_a_thousand_races_are_seen_by_nobody(how, callers):
    """Each conn serves one request and dies under the second: half of all requests race."""
    bodies = [b"%06d" % k for k in range(RACES // 4)]
    with (
        KeepaliveServer(hows=(how,)) as server,
        ProxyProcess(quiet_toml(server.url)) as proxy,
    ):
        found = asyncio.run(post_all(proxy.url, bodies, callers))
        assert [(status, got == sent) for status, sent, got in found] == [(200, True)] * len(bodies)
        assert server.answered == dict.fromkeys(bodies, 1), "each was answered once"
        e = first_endpoint(proxy.until_idle())
        assert server.races == e["stale_retries"] >= len(bodies) - callers * 2
        assert [(r["status"], r["outcome"]) for r in proxy.status()["requests"]] == [(200, "ok")]


# ---------------------------------------------------------------- warm


def test_ready_means_warm_and_the_first_requests_connect_to_nothing():
    with (
        KeepaliveServer(first=99) as server,
        ProxyProcess(quiet_toml(server.url, pool="{ prewarm = 8, prewarm_idle = 0.0 }")) as proxy,
    ):
        e = first_endpoint(proxy.status())
        assert e["pool"]["warmed"] >= 8
        bodies = [b"%d" % k for k in range(200)]
        found = asyncio.run(post_all(proxy.url, bodies, callers=8))
        assert [status for status, _, _ in found] == [200] * 200
        e = first_endpoint(proxy.until(lambda s: not first_endpoint(s)["opening"]))
        assert e["connects"] == e["pool"]["warmed"], "no request had to connect"
        assert e["connect_failures"] == 0
        metrics = proxy.fetch("/metrics").decode()
        assert f'zeroproxy_prewarmed_total{{endpoint="{server.url}",upstream="test"}}' in metrics


def test_an_endpoint_that_is_down_is_no_reason_to_storm_and_is_warm_when_it_comes():
    port = free_port()
    toml = quiet_toml(f"http://127.0.0.1:{port}", pool="{ prewarm = 4 }")
    with ProxyProcess(toml, wait_ready=False) as proxy:
        tried = first_endpoint(proxy.until(lambda s: first_endpoint(s)["connects"] >= 4))
        assert tried["pool"]["backoff_s"] > 0
        assert tried["connects"] <= 4 + 8
        with Answering(port):
            proxy.until(lambda s: first_endpoint(s)["idle"] == 4)


# ---------------------------------------------------------------- servers as they are


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Keep-Alive", "timeout=5, max=10")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        pass


class Answering:
    """http.server, one thread per conn."""

    def __init__(self, port: int = 0) -> None:
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))

    def __enter__(self) -> "Answering":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def test_keep_alive_fields_of_a_server_are_kept():
    bodies = [b"%d" % k for k in range(100)]
    with Answering() as server, ProxyProcess(quiet_toml(server.url)) as proxy:
        found = asyncio.run(post_all(proxy.url, bodies, callers=1))
        assert [status for status, _, _ in found] == [200] * 100
        e = first_endpoint(proxy.until_idle())
        assert (e["pool"]["said_max"], e["pool"]["idle_limit_s"]) == (10, 3.0)
        assert e["pool"]["closed"]["age"] == 100 // 9
        assert e["stale_retries"] == 0


class Uvicorn(ServerProcess):
    def command(self) -> list[str]:
        script = Path("tests/support/serve_uvicorn.py").resolve()
        return [sys.executable, str(script), str(self.port), "1"]

    def ping(self) -> None:
        socket.create_connection(("127.0.0.1", self.port)).close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def uvicorn() -> Iterator[Uvicorn]:
    pytest.importorskip("uvicorn", reason="NO UVICORN: pip install uvicorn")
    with Uvicorn() as server:
        yield server


def test_uvicorns_keep_alive_is_learned_from_what_it_does(uvicorn):
    """Without a Keep-Alive field it closes after a second; the proxy would wait for three."""
    with ProxyProcess(quiet_toml(uvicorn.url)) as proxy:
        bodies = [b"%d" % k for k in range(50)]
        asyncio.run(post_all(proxy.url, bodies, callers=4))
        e = first_endpoint(proxy.until(lambda s: first_endpoint(s)["pool"]["closed"]["endpoint"]))
        assert 0.5 <= e["pool"]["idle_limit_s"] < 1.0
        proxy.until(lambda s: not first_endpoint(s)["idle"])
        assert any(nobody_was_faster(proxy, bodies) for _ in range(5)), "now the proxy closes first"


def nobody_was_faster(proxy: ProxyProcess, bodies: list[bytes]) -> bool:
    """Conns rest after a round of requests: closed by the proxy, none by the endpoint."""
    before = first_endpoint(proxy.status())["pool"]["closed"]
    found = asyncio.run(post_all(proxy.url, bodies, callers=4))
    assert [status for status, _, _ in found] == [200] * len(bodies)
    after = first_endpoint(proxy.until(lambda s: not first_endpoint(s)["idle"]))["pool"]["closed"]
    return after["idle"] > before["idle"] and after["endpoint"] == before["endpoint"]


def test_warm_conns_serve_uvicorn_too(uvicorn):
    toml = quiet_toml(uvicorn.url, pool="{ prewarm = 4, prewarm_idle = 0.0 }")
    with ProxyProcess(toml) as proxy:
        found = asyncio.run(post_all(proxy.url, [b"%d" % k for k in range(400)], callers=4))
        assert [status for status, _, _ in found] == [200] * 400
        e = first_endpoint(proxy.until(lambda s: not first_endpoint(s)["opening"]))
        assert e["connects"] == e["pool"]["warmed"]


# ---------------------------------------------------------------- caps


def test_a_cap_is_never_passed_and_everybody_is_served():
    bodies = [b"%d" % k for k in range(200)]
    with (
        KeepaliveServer(first=7) as server,
        ProxyProcess(quiet_toml(server.url, pool="{ max_connections = 3 }")) as proxy,
    ):
        found = asyncio.run(post_all(proxy.url, bodies, callers=16))
        assert sorted(got for _, _, got in found) == sorted(bodies)
        status = proxy.until_idle()
        assert status["upstreams"][0]["waited"] > 0
        assert status["upstreams"][0]["waiting"] == 0
        assert first_endpoint(status)["connections"] <= 3


# ---------------------------------------------------------------- names


async def test_a_name_that_moved_is_followed_while_old_answers_finish(monkeypatch):
    """127.0.0.1 and 127.0.0.2 on one port are two machines."""
    where = ["127.0.0.1"]

    async def look_up(host: str, port: int) -> list:
        return [(2, (ip, port)) for ip in where]

    monkeypatch.setattr(addresses, "look_up", look_up)
    port = free_port()
    release = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = writer.get_extra_info("sockname")[0].encode()
        while head := await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(name))
            if b"/slow" in head:
                await release.wait()
            writer.write(name)

    servers = [await asyncio.start_server(serve, ip, port) for ip in ("127.0.0.1", "127.0.0.2")]
    config = parse_config(
        '[server]\nlisten = "127.0.0.1:0"\n[admin]\nlisten = ""\n[[upstream]]\nname = "u"\n'
        f'endpoints = ["http://vllm.test:{port}"]\ndns_ttl = 0.01\n'
        'surface = { paths = "all" }\n'
        '[metering]\nledger = ""\ninject_usage = false\n'
    )
    async with zeroproxy.Proxy(config) as proxy, aiohttp.ClientSession() as session:
        (url,) = proxy.listen
        async with session.get(url) as response:
            assert await response.text() == "127.0.0.1"
        slow = await session.get(f"{url}/slow")
        where[:] = ["127.0.0.2"]
        await until(lambda: proxy.snapshot()["leaving"])
        async with session.get(url) as response:
            assert await response.text() == "127.0.0.2"
        release.set()
        assert await slow.text() == "127.0.0.1"
        (shown,) = proxy.snapshot()["upstreams"][0]["endpoints"]
        assert shown["url"] == f"http://vllm.test:{port}"
    for server in servers:
        server.close()


def test_status_is_json_with_every_number_of_the_pool():
    with KeepaliveServer() as server, ProxyProcess(quiet_toml(server.url)) as proxy:
        pool = json.loads(proxy.fetch("/status"))["upstreams"][0]["endpoints"][0]["pool"]
        assert set(pool["closed"]) == {"endpoint", "idle", "age", "surplus", "exchange"}
        assert pool["idle_limit_s"] == 3.0
