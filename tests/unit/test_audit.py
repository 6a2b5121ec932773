"""The audit file: who asked for a change, for what, and with which result."""

import asyncio
import json
import os
import stat
import threading

import pytest
from aiohttp import ClientSession, UnixConnector

from tests.support.until import until
from zeroproxy.admin import audit as module
from zeroproxy.admin.audit import Audit
from zeroproxy.admin.server import AdminServer
from zeroproxy.config.load import parse_config
from zeroproxy.errors import ConfigError, ReloadError, ZeroproxyError
from zeroproxy.server.apply_config import prepare
from zeroproxy.server.listener import bind

UPSTREAM = '[[upstream]]\nname = "a"\nendpoints = ["http://127.0.0.1:1"]\n'


class Source:
    """A proxy that can be asked for changes."""

    def __init__(self) -> None:
        self.refusal: Exception | None = None
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.begun = asyncio.Event()

    def snapshot(self):
        return {}

    def ready(self):
        return True, []

    def drain(self):
        pass

    def drain_endpoint(self, url, drain):
        return {"url": url, "draining": drain, "inflight": 3} if url == "http://h:1" else None

    async def reload_file(self):
        self.begun.set()
        await self.go_on.wait()
        if self.refusal is not None:
            raise self.refusal
        return ["limits.body_timeout"]


class Stage:
    """An admin listener with an audit file, and a caller."""

    def __init__(self, path, where: str = "127.0.0.1:0", token: str = "") -> None:
        self.path, self.spec, self.source = path, f"jsonl:{path}", Source()
        self.server = AdminServer(
            self.source, bind(where), token=lambda: token, audit=lambda: self.spec
        )
        unix = where.removeprefix("unix:")
        self.caller = ClientSession(connector=UnixConnector(unix) if unix != where else None)

    async def __aenter__(self):
        await self.server.start()
        self.url = "http://localhost" if self.server.url.startswith("unix:") else self.server.url
        return self

    async def __aexit__(self, *_):
        await self.caller.close()
        await self.server.stop()

    async def post(self, target: str, **words) -> int:
        async with self.caller.post(self.url + target, **words) as response:
            return response.status

    async def lines(self, n: int) -> list[dict]:
        """All lines, once there are `n`."""
        await until(lambda: self.state()["written"] == n)
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def state(self) -> dict:
        return self.server.audit.state()


async def test_each_change_has_a_line_with_its_result(tmp_path):
    async with Stage(tmp_path / "audit") as stage:
        assert await stage.post("/-/reload") == 200
        assert await stage.post("/-/endpoint?url=http://h:1&drain=true") == 200
        stage.source.refusal = ReloadError("x: a restart is needed")
        assert await stage.post("/-/reload") == 422
        stage.source.refusal = ConfigError("wrong", file="f", line=3, key="k")
        assert await stage.post("/-/reload") == 400
        assert await stage.post("/-/drain") == 202
        lines = await stage.lines(5)
    assert [line["path"] for line in lines] == [
        "/-/reload", "/-/endpoint", "/-/reload", "/-/reload", "/-/drain",
    ]  # fmt: skip
    first, endpoint, refused, wrong, last = lines
    assert first["answer"] == {"reloaded": True, "changed": ["limits.body_timeout"]}
    assert (first["method"], first["status"], first["token"]) == ("POST", 200, False)
    assert first["peer"].startswith("127.0.0.1:")
    assert first["time"].endswith("+00:00")
    assert endpoint["query"] == "url=http://h:1&drain=true"
    assert endpoint["answer"]["inflight"] == 3
    assert (refused["status"], refused["message"]) == (422, "x: a restart is needed")
    assert (wrong["status"], wrong["message"]) == (400, "f:3: k: wrong")
    assert (last["status"], last["answer"]) == (202, {"draining": True})


async def test_refused_requests_have_lines_and_reads_have_none(tmp_path):
    async with Stage(tmp_path / "audit", token="secret-token") as stage:
        assert await stage.post("/-/drain") == 401
        assert await stage.post("/-/drain", headers={"Authorization": "Bearer nope"}) == 401
        good = {"Authorization": "Bearer secret-token"}
        assert await stage.post("/-/drain", headers={**good, "Origin": "http://e"}) == 403
        assert await stage.post("/-/drain", headers={"Host": "evil.example"}) == 421
        assert await stage.post("/nowhere", headers=good) == 404
        async with stage.caller.get(stage.url + "/status", headers=good) as response:
            assert response.status == 200
        lines = await stage.lines(5)
        text = stage.path.read_text()
    assert [(line["status"], line["token"]) for line in lines] == [
        (401, False), (401, False), (403, True), (421, False), (404, True),
    ]  # fmt: skip
    assert "secret-token" not in text
    assert "Bearer" in lines[0]["message"]


async def test_the_file_is_for_its_owner_and_may_be_renamed(tmp_path):
    async with Stage(tmp_path / "audit") as stage:
        await stage.post("/-/drain")
        await stage.lines(1)
        assert stat.S_IMODE(stage.path.stat().st_mode) == 0o600
        stage.path.rename(tmp_path / "old")
        await stage.post("/-/drain")
        assert len(await stage.lines(2)) == 1


async def test_a_torn_line_spoils_no_other(tmp_path):
    (tmp_path / "audit").write_text('{"torn": ')
    async with Stage(tmp_path / "audit") as stage:
        await stage.post("/-/drain")
        await until(lambda: stage.state()["written"] == 1)
    assert json.loads((tmp_path / "audit").read_text().splitlines()[1])["status"] == 202


async def test_a_caller_of_a_unix_socket_is_known_by_user_and_process(tmp_path):
    async with Stage(tmp_path / "audit", f"unix:{tmp_path}/admin.sock") as stage:
        await stage.post("/-/drain")
        (line,) = await stage.lines(1)
    assert line["peer"] == f"unix:uid={os.getuid()},pid={os.getpid()}"


async def test_a_caller_that_leaves_leaves_a_line(tmp_path):
    async with Stage(tmp_path / "audit") as stage:
        stage.source.go_on.clear()
        asking = asyncio.ensure_future(stage.post("/-/reload"))
        await stage.source.begun.wait()
        asking.cancel()
        (line,) = await stage.lines(1)
        stage.source.go_on.set()
    assert (line["status"], line["message"]) == (499, "the caller left before the answer")


async def test_without_a_file_nothing_is_written(tmp_path):
    async with Stage(tmp_path / "audit") as stage:
        stage.spec = ""
        assert await stage.post("/-/drain") == 202
        assert stage.state() == {"written": 0, "dropped": 0, "failing": ""}
        stage.spec = f"jsonl:{stage.path}"  # a reload
        await stage.post("/-/drain")
        await stage.lines(1)


async def test_a_file_that_fails_is_logged_once_and_counted(tmp_path, logged):
    async with Stage(tmp_path / "gone" / "audit") as stage:
        for _ in range(3):
            assert await stage.post("/-/drain") == 202
        await until(lambda: stage.state()["dropped"] == 3)
        assert stage.state()["failing"].startswith(f"admin.audit: cannot write {stage.path}: ")
        stage.path.parent.mkdir()
        await stage.post("/-/drain")
        await stage.lines(1)
        assert stage.state()["failing"] == ""
    assert [line for line in logged if "audit" in line] == [
        f"the audit file fails: admin.audit: cannot write {stage.path}: No such file or directory",
        "the audit file works again",
    ]


async def test_a_file_that_nobody_reads_stops_no_request(tmp_path, monkeypatch):
    """The writer waits in a system call; requests are answered, lines beyond the queue dropped."""
    free, waits = threading.Event(), threading.Event()

    def stuck(self, spec, line):
        waits.set()
        free.wait(60)

    monkeypatch.setattr(Audit, "_write", stuck)
    monkeypatch.setattr(module, "CLOSE_PATIENCE", 0.05)
    async with Stage(tmp_path / "audit") as stage:
        stage.server.audit._queue.maxsize = 2
        assert await stage.post("/-/drain") == 202
        await asyncio.to_thread(waits.wait)
        for _ in range(5):
            assert await stage.post("/-/drain") == 202
        assert stage.state()["dropped"] == 3
    free.set()


async def test_strangers_do_not_fill_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "REFUSED_RATE", 0.0)
    async with Stage(tmp_path / "audit", token="t") as stage:
        for _ in range(module.REFUSED_BURST + 20):
            assert await stage.post("/-/drain") == 401
        good = {"Authorization": "Bearer t"}
        assert await stage.post("/-/drain", headers=good) == 202
        lines = await stage.lines(module.REFUSED_BURST + 1)
        assert lines[-1]["status"] == 202
        assert stage.state()["dropped"] == 20


async def test_a_line_is_bounded(tmp_path):
    async with Stage(tmp_path / "audit") as stage:
        await stage.post("/-/endpoint?url=" + "x" * 5000 + "&drain=true")
        (line,) = await stage.lines(1)
    assert len(json.dumps(line)) < 2000


async def test_a_configuration_whose_audit_file_cannot_be_written_is_refused(tmp_path):
    config = parse_config(f'[admin]\naudit = "jsonl:{tmp_path}/no/audit"\n{UPSTREAM}')
    with pytest.raises(ZeroproxyError) as caught:
        await prepare(config)
    assert str(caught.value) == (
        f"admin.audit: cannot write {tmp_path}/no/audit: No such file or directory"
    )


def test_its_value_is_that_of_the_access_log():
    with pytest.raises(ConfigError) as caught:
        parse_config(f'[admin]\naudit = "/var/log/audit"\n{UPSTREAM}')
    assert str(caught.value) == (
        '<text>:2: admin.audit: expected "", "jsonl:stdout" or "jsonl:/path", got "/var/log/audit"'
    )
