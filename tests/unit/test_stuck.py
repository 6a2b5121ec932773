"""An endpoint that is stuck in TLS: its probe gives up in time, and others are probed on."""

import asyncio
import contextlib
import socket
import ssl
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Authority
from tests.support.endpoint_set import ActiveEndpoint
from tests.support.script_upstream import ScriptUpstream
from tests.support.until import until
from tests.support.ward import Engine, Server, upstream, watch
from zeroproxy.config.schema import Config, Upstream
from zeroproxy.policy.health import Health
from zeroproxy.policy.http_client import get_page, get_status
from zeroproxy.policy.proxy_readiness import can_connect
from zeroproxy.policy.rotation import Rotation
from zeroproxy.policy.server_detection import Discovery
from zeroproxy.policy.socket_addresses import Address, ClientTls, resolve

PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage"


class StuckTls:
    """Shakes hands (or not even that), answers what it is to answer, and reads nothing any more: no
    goodbye of TLS is ever returned."""

    def __init__(self, folder: Path, *, shakes: bool = True, answer: bytes = b"") -> None:
        self.authority = Authority(folder, "root")
        pair = self.authority.sign("a", "IP:127.0.0.1")
        self.context = pair.server()
        self.shakes, self.answer = shakes, answer
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.kept: list[socket.socket] = []
        self.url = f"https://127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self) -> "StuckTls":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for conn in self.kept:
            conn.close()

    async def address(self) -> Address:
        trusts = ssl.create_default_context(cafile=self.authority.ca)
        return replace(await resolve(self.url), client_tls=ClientTls(trusts))

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                conn, _ = self.listener.accept()
                self.kept.append(conn)
                threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self.shakes:
                client_tls = self.context.wrap_socket(conn, server_side=True)
                self.kept.append(client_tls)
                if self.listener.fileno() < 0:  # the test is over
                    client_tls.close()
                elif self.answer:
                    client_tls.recv(65536)
                    client_tls.sendall(self.answer)


@pytest.mark.parametrize("shakes", [False, True])
async def test_a_stuck_endpoint_is_out_in_time_and_its_peer_is_asked_on(tmp_path, shakes, logged):
    engine, server = Engine(), Server()
    two = engine.health_sample()[0]
    engine.health_sample = lambda only=None: [  # type: ignore[method-assign]
        {**two, "index": k} for k in (0, 1) if only in (None, k)
    ]
    rotation = Rotation(engine)
    health = Health(engine, rotation, lambda _: "")
    with StuckTls(tmp_path, shakes=shakes) as stuck:
        async with ScriptUpstream(server) as script:
            members = [
                ActiveEndpoint(0, await stuck.address()),
                ActiveEndpoint(1, await resolve(script.url)),
            ]
            watch([(upstream(), members)], rotation, health)
            await until(lambda: engine.words)
            assert engine.words == [(0, False)]
            assert logged == [f"{stuck.url} is out: no answer within 0.05 s"]
            asked = server.health()
            await until(lambda: server.health() > asked + 3)
            await health.stop()


async def test_while_one_answers_slowly_its_peers_are_asked_on(tmp_path):
    """A probe may take as long as its timeout, here for ever: nobody waits for it."""
    engine, server = Engine(), Server()
    engine.health_sample = lambda only=None: []  # type: ignore[method-assign]
    rotation = Rotation(engine)
    health = Health(engine, rotation, lambda _: "")
    with StuckTls(tmp_path) as stuck:
        async with ScriptUpstream(server) as script:
            members = [
                ActiveEndpoint(0, await stuck.address()),
                ActiveEndpoint(1, await resolve(script.url)),
            ]
            watch([(upstream(timeout="3600"), members)], rotation, health)
            await until(lambda: server.health() > 3)
            await health.stop()


def asks(address: Address) -> dict[str, Any]:
    return {
        "status": lambda: get_status(address, "/health", 5.0),
        "page": lambda: get_page(address, "/metrics", 5.0),
        "connect": lambda: can_connect(address),
    }


@pytest.mark.parametrize(("what", "answer"), [("status", 200), ("page", b"page"), ("connect", "")])
async def test_an_answer_is_taken_although_the_goodbye_never_comes(tmp_path, what, answer):
    """Half a minute was waited for it, and then the answer thrown away."""
    with StuckTls(tmp_path, answer=PAGE) as stuck:
        work = asyncio.ensure_future(asks(await stuck.address())[what]())
        await until(work.done)
        assert work.result() == answer


async def test_a_list_of_models_is_taken_as_well(tmp_path):
    body = b'{"data": [{"id": "m", "owned_by": "vllm"}]}'
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)

    class Words:
        def set_endpoint(self, index: int, *, usage_request: str | None = None) -> None: ...

        def set_models(self, body: bytes | None) -> None: ...

    with StuckTls(tmp_path, answer=head + body) as stuck:
        discovery = Discovery(Words(), Rotation(Engine()))
        u = Upstream(name="u", endpoints=(stuck.url,))
        discovery.watch([(u, [ActiveEndpoint(0, await stuck.address())])], Config(upstream=(u,)))
        await until(lambda: discovery.server_kinds == {stuck.url: "vllm"})
        await discovery.stop()
