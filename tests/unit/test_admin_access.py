"""The admin listener and callers without access: their number, their time, their Host."""

import asyncio
import contextlib
import sqlite3
import threading

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer

from tests.support.ledgers import new_ledger
from tests.support.until import until
from zeroproxy.admin import connection_limit as connections
from zeroproxy.admin import usage as admin_usage
from zeroproxy.admin.app import create_app
from zeroproxy.admin.hosts import name_in, names_of
from zeroproxy.admin.server import AdminServer
from zeroproxy.config.schema import Admin
from zeroproxy.server.listener import bind

ASK = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n"


class Source:
    def __init__(self, path: str = "") -> None:
        self.path, self.reloads, self.go_on = path, [], asyncio.Event()

    def snapshot(self):
        return {"phase": "serving"}

    def ready(self):
        return True, []

    def ledger_path(self):
        return self.path

    async def reload_file(self):
        self.reloads.append("begun")
        await self.go_on.wait()
        self.reloads.append("done")
        return []


@contextlib.asynccontextmanager
async def listening(source=None, **words):
    server = AdminServer(source or Source(), bind("127.0.0.1:0"), **words)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def dial(server: AdminServer):
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def ended(reader: asyncio.StreamReader) -> bool:
    """True if the other side closes, whichever way."""
    with contextlib.suppress(ConnectionError):
        return await reader.read() == b""
    return True


async def status_of(server: AdminServer, path: bytes = b"/healthz") -> int:
    reader, writer = await dial(server)
    writer.write(ASK % (path, b"Connection: close\r\n"))
    line = await reader.readline()
    writer.close()
    return int(line.split()[1])


# ---------------------------------------------------------------- how many, how long


async def test_half_open_heads_give_way_to_requests():
    async with listening(most=4) as server:
        mute = [await dial(server) for _ in range(40)]
        for _, writer in mute:
            with contextlib.suppress(ConnectionError):
                writer.write(b"GET /status HTTP/1.1\r\nHos")
        assert [await status_of(server) for _ in range(3)] == [200] * 3
        for reader, _ in mute[:36]:
            assert await ended(reader)
        for _, writer in mute:
            writer.close()


async def test_a_head_that_does_not_come_to_its_end_is_given_up(monkeypatch):
    monkeypatch.setattr(connections, "HEAD_TIMEOUT", 0.05)
    async with listening() as server:
        for sent in (b"", b"GET /", (ASK % (b"/", b""))[:30]):
            reader, writer = await dial(server)
            writer.write(sent)
            assert await ended(reader)
            writer.close()
        reader, writer = await dial(server)
        for _ in range(2):  # a head that is there in time is not held to it, nor is a pause
            writer.write(ASK % (b"/healthz", b""))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            await reader.readuntil(b"}\n")
            await asyncio.sleep(0.1)
        writer.write(b"GET /healthz HT")
        assert await ended(reader)
        writer.close()


def slow_reports(monkeypatch):
    """Reports that wait: (set it to let them go on, set once one has begun)."""
    go_on, begun = threading.Event(), threading.Event()

    def slow(connection, query):
        begun.set()
        go_on.wait(60)
        return real(connection, query)

    real = admin_usage.usage
    monkeypatch.setattr(admin_usage, "usage", slow)
    return go_on, begun


async def test_one_that_is_being_answered_keeps_its_place(tmp_path, monkeypatch):
    go_on, begun = slow_reports(monkeypatch)
    path = tmp_path / "u.sqlite"
    new_ledger(path).close()
    async with listening(Source(str(path)), most=1) as server:
        reader, writer = await dial(server)
        writer.write(ASK % (b"/usage", b""))
        await until(begun.is_set)
        other, closing = await dial(server)
        assert await ended(other)
        go_on.set()
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        for each in (writer, closing):
            each.close()


async def test_a_reload_goes_on_when_its_caller_leaves():
    source = Source()
    async with listening(source) as server:
        _, writer = await dial(server)
        writer.write(b"POST /-/reload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n")
        await until(lambda: source.reloads == ["begun"])
        writer.close()
        await until(lambda: not server._limit._visits)
        source.go_on.set()
        await until(lambda: source.reloads == ["begun", "done"])


# ---------------------------------------------------------------- reports


FOR_EVER = "WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n) SELECT max(k) FROM n"


async def test_reports_of_callers_who_left_are_not_made(tmp_path, monkeypatch):
    """The one that runs is interrupted, those that wait never begin: the next is answered."""
    begun = []

    def endless(connection: sqlite3.Connection, query):
        begun.append(1)
        if len(begun) == 1:
            connection.execute(FOR_EVER).fetchone()
        return real(connection, query)

    real = admin_usage.usage
    monkeypatch.setattr(admin_usage, "usage", endless)
    path = tmp_path / "u.sqlite"
    new_ledger(path).close()
    async with listening(Source(str(path))) as server:
        writers = [(await dial(server))[1] for _ in range(4)]
        for writer in writers:
            writer.write(ASK % (b"/usage", b""))
        await until(lambda: len(begun) == 1)
        for writer in writers:
            writer.close()
        await until(lambda: not server._limit._visits)
        assert await status_of(server, b"/usage") == 200
        assert len(begun) == 2


async def test_more_reports_than_may_wait_are_busy(tmp_path, monkeypatch):
    go_on, _ = slow_reports(monkeypatch)
    path = tmp_path / "u.sqlite"
    new_ledger(path).close()
    async with listening(Source(str(path))) as server, ClientSession() as session:
        asked = [asyncio.ensure_future(session.get(f"{server.url}/usage")) for _ in range(12)]
        busy = admin_usage.MOST_WAITING + 1
        await until(lambda: sum(each.done() for each in asked) == 12 - busy)
        assert {(await each).status for each in asked if each.done()} == {503}
        assert (await next(each for each in asked if each.done())).headers["Retry-After"]
        go_on.set()
        assert sorted([(await each).status for each in asked]) == [200] * busy + [503] * (12 - busy)


# ---------------------------------------------------------------- under which name


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200), ("127.0.0.1:9090", 200), ("[::1]:9090", 200), ("[::1]", 200),
        ("10.0.0.7:9090", 200), ("localhost:9090", 200), ("LOCALHOST", 200), ("localhost.", 200),
        ("a.localhost", 200), ("gpu-1:9090", 200), ("GPU-1.", 200), ("prom.example", 200),
        ("evil.example", 421), ("evil.example:9090", 421), ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421), ("gpu-1.evil.example", 421), ("notlocalhost", 421),
        ("[evil]", 421), ("0x7f.1", 421),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/status", "/healthz", "/usage", "/"])
async def test_a_host_that_a_page_could_choose_is_misdirected(host, status, path):
    names = names_of(Admin(listen="gpu-1:9090", hosts=("Prom.example",)))
    async with TestClient(TestServer(create_app(Source(), names=lambda: names))) as client:
        response = await client.get(path, headers={"Host": host})
        assert response.status == (404 if (path, status) == ("/usage", 200) else status)
        if status == 421:
            message = (await response.json())["error"]["message"]
            assert message.startswith(f'Host "{host}" is not known here: ')
            assert message.endswith("or one of admin.hosts")


async def test_who_has_the_token_or_a_unix_socket_may_use_any_name():
    app = create_app(Source(), lambda: "t")
    async with TestClient(TestServer(app)) as client:
        for headers, status in (({}, 421), ({"Authorization": "Bearer t"}, 200),
                                ({"Authorization": "Bearer u"}, 421)):  # fmt: skip
            headers["Host"] = "prom.example"
            assert (await client.get("/status", headers=headers)).status == status
        assert (await client.get("/healthz", headers={"Host": "prom.example"})).status == 421
    async with TestClient(TestServer(create_app(Source(), names=None))) as client:
        assert (await client.get("/status", headers={"Host": "any.example"})).status == 200


OWN = "http://127.0.0.1:9090"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.test"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:8000"}, 403),  # another port is another origin
        ({"Origin": OWN}, 200),
        ({"Origin": OWN, "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),  # a link
    ],
)
@pytest.mark.parametrize("path", ["/status", "/healthz", "/"])
async def test_a_page_of_another_origin_may_not_read(path, headers, status):
    async with TestClient(TestServer(create_app(Source()))) as client:
        response = await client.get(path, headers={"Host": "127.0.0.1:9090", **headers})
        assert response.status == status


async def test_a_probe_of_http_1_0_has_no_host():
    async with listening() as server:
        reader, writer = await dial(server)
        writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"200"
        writer.close()


def test_what_is_the_name_in_a_host():
    assert [name_in(h) for h in ("", ":9090", "A.b.:1", "[::1", "[FE80::1%25e]:2")] == [
        "", "", "a.b", "::1", "fe80::1%25e",
    ]  # fmt: skip
