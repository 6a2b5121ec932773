"""The states that systemd is sent, from a worker whose data plane may hang."""

import asyncio
import contextlib
import socket

import pytest

from zeroproxy.server import systemd_notify
from zeroproxy.server.systemd_notify import Notifier, Service, notifier_of, watchdog_of


class FakeEngine:
    def __init__(self) -> None:
        self.beats, self.hangs, self.inflight = 0, False, 2

    def beat(self) -> int:
        self.beats += not self.hangs
        return self.beats

    def health_sample(self) -> list[dict]:
        return [{"inflight": self.inflight}, {"inflight": 1}]


class FakeWorker:
    def __init__(self) -> None:
        self.engine, self.phase = FakeEngine(), "serving"
        self.reasons: list[str] = []

    def ready(self) -> tuple[bool, list[str]]:
        return not self.reasons and self.phase == "serving", self.reasons


@pytest.fixture
def systemd(tmp_path):
    """The socket that systemd would listen on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"{tmp_path}/notify")
        sock.setblocking(False)
        yield sock


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(systemd_notify, "STARTING", 0.01)
    monkeypatch.setattr(systemd_notify, "RUNNING", 0.01)


def told(sock: socket.socket) -> list[str]:
    """Lines that are there."""
    found: list[str] = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found += sock.recv(65536).decode().split("\n")
    return found


async def until(sock: socket.socket, line: str) -> list[str]:
    """Lines up to the datagram that has one which begins with `line`."""
    found: list[str] = []
    async with asyncio.timeout(20):
        while not any(x.startswith(line) for x in found):
            await asyncio.sleep(0.005)
            found += told(sock)
    return found


@contextlib.asynccontextmanager
async def serving(worker: FakeWorker, sock: socket.socket, watchdog: float = 0.0):
    service = Service(worker, Notifier(sock.getsockname(), watchdog))
    service.start()
    try:
        yield service
    finally:
        await service.stop()


async def test_ready_comes_once_and_after_the_warm_up(systemd, fast):
    worker = FakeWorker()
    worker.reasons = ["http://e: is being\nwarmed up"]
    async with serving(worker, systemd):
        first = await until(systemd, "EXTEND_TIMEOUT_USEC=")
        assert "STATUS=waiting: http://e: is being warmed up" in first
        assert "READY=1" not in first
        worker.reasons = []
        found = await until(systemd, "STATUS=serving: 3 requests in flight")
        assert found.count("READY=1") == 1
        worker.reasons = ["http://e: probe refused"]
        found = await until(systemd, "STATUS=serving: 3 requests in flight; not ready: http://e")
        assert "READY=1" not in found


async def test_an_engine_that_stays_down_does_not_keep_the_proxy_from_its_start(
    systemd, fast, monkeypatch
):
    monkeypatch.setattr(systemd_notify, "READY_PATIENCE", 0.05)
    worker = FakeWorker()
    worker.reasons = ["http://e: refused"]
    async with serving(worker, systemd):
        assert "READY=1" in await until(systemd, "READY=1")


async def test_a_status_is_sent_when_it_has_changed(systemd, fast):
    worker = FakeWorker()
    async with serving(worker, systemd):
        await until(systemd, "STATUS=serving: 3")
        await asyncio.sleep(0.1)
        assert told(systemd) == []
        worker.engine.inflight = 0
        await until(systemd, "STATUS=serving: 1 requests")


async def test_the_watchdog_is_fed_while_the_data_plane_works_and_no_longer(systemd, fast):
    worker = FakeWorker()
    async with serving(worker, systemd, watchdog=0.05):
        await until(systemd, "READY=1")
        await until(systemd, "WATCHDOG=1")
        worker.engine.hangs = True
        await asyncio.sleep(0.05)
        told(systemd)
        await asyncio.sleep(0.1)
        assert told(systemd) == []
        worker.engine.hangs = False
        await until(systemd, "WATCHDOG=1")


async def test_a_plane_that_is_closed_need_not_beat(systemd, fast):
    worker = FakeWorker()
    async with serving(worker, systemd, watchdog=0.05):
        worker.engine.hangs, worker.engine.beats = True, -1
        told(systemd)
        await until(systemd, "WATCHDOG=1")
        await until(systemd, "WATCHDOG=1")


async def test_a_reload_is_announced_and_ended(systemd, fast):
    async with serving(FakeWorker(), systemd) as service:
        service.on_reload(begins=True)  # not ready yet: systemd knows of no reload then
        assert told(systemd) == []
        await until(systemd, "STATUS=")
        service.on_reload(begins=True)
        state, stamp = told(systemd)
        assert state == "RELOADING=1"
        assert int(stamp.removeprefix("MONOTONIC_USEC=")) > 0
        service.on_reload(begins=False)
        assert told(systemd) == ["READY=1"]


async def test_a_drain_asks_for_time_as_long_as_it_lasts(systemd, fast):
    worker = FakeWorker()
    async with serving(worker, systemd) as service:
        await until(systemd, "READY=1")
        worker.phase = "draining"
        service.stopping()
        found = await until(systemd, "STATUS=draining: 3 requests in flight")
        assert found[:2] == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=15000000"]
        await until(systemd, "EXTEND_TIMEOUT_USEC=")
        service.on_reload(begins=True)
        assert "RELOADING=1" not in told(systemd)


def test_an_abstract_socket_is_written_to():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(b"")  # the kernel chooses an abstract name
        name = sock.getsockname()
        notifier = notifier_of({"NOTIFY_SOCKET": "@" + name[1:].decode()}, 7)
        notifier.send("READY=1", "STATUS=x")
        notifier.close()
        assert sock.recv(99) == b"READY=1\nSTATUS=x"


def test_nobody_listens_and_nothing_happens(tmp_path):
    notifier = notifier_of({"NOTIFY_SOCKET": f"{tmp_path}/gone"}, 7)
    notifier.send("READY=1")
    notifier.close()
    assert notifier_of({}, 7) is None


@pytest.mark.parametrize("address", ["notify", "vsock:2:1", "@", "/", "/" + "x" * 200])
def test_an_address_that_is_none_is_a_line_in_the_log(address, logged):
    assert notifier_of({"NOTIFY_SOCKET": address}, 7) is None
    assert any("NOTIFY_SOCKET is" in line for line in logged)


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, 0.0),  # another process's
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({"WATCHDOG_USEC": "-1"}, 0.0),
    ],
)
def test_the_watchdogs_time(environ, seconds):
    assert watchdog_of(environ, 7) == seconds
