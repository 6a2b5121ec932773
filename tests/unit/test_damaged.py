"""A ledger that is damaged, or cannot be used now, keeps nobody out, unless it is required."""

import sqlite3

import pytest

from tests.support.records import FakeEngine, make_batch, query, sums
from tests.support.until import until
from zeroproxy.commands.check import Findings, check_ledger
from zeroproxy.config.load import parse_config
from zeroproxy.errors import ZeroproxyError
from zeroproxy.metering import flusher as module
from zeroproxy.metering.flusher import Flusher
from zeroproxy.metering.ledger import Ledger
from zeroproxy.metering.outbox import Feeder
from zeroproxy.server.metering_pipeline import Metering


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "INTERVAL", 0.002)
    monkeypatch.setattr(module, "RETRY_FIRST", 0.002)
    monkeypatch.setattr(module, "RETRY_LAST", 0.01)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "usage.sqlite"


@pytest.fixture
def damaged(path):
    """Its bytes."""
    ledger = Ledger(path)
    for k in range(20):
        ledger.write(make_batch(range(k * 100, k * 100 + 100)))
    ledger.close()
    found = path.read_bytes()
    found = found[:4096] + b"\xa5" * (len(found) - 4096)
    path.write_bytes(found)
    return found


def metering_over(path, engine, more=""):
    return Metering(
        parse_config(
            '[[upstream]]\nname = "a"\nendpoints = ["http://127.0.0.1:1"]\n'
            f'[metering]\nledger = "{path}"\n{more}'
        ),
        engine,
    )


def asides(path):
    return sorted(path.parent.glob("usage.sqlite.damaged-*"))


async def test_a_damaged_ledger_is_put_aside_and_a_new_one_begun(path, damaged, caplog):
    engine = FakeEngine()
    more = f'sinks = [{{ kind = "jsonl", path = "{path}.jsonl" }}]\n'
    metering = metering_over(path, engine, more)
    metering.start()
    engine.finish(3)
    await until(lambda: sums(path)[0] == 3)
    state = metering.state()["ledger"]
    metering.stop()
    assert (state["ok"], state["damaged"]) == (True, 1)
    (aside,) = asides(path)
    assert aside.read_bytes() == damaged
    assert f"is kept as {aside}" in caplog.text


def test_a_damaged_ledger_that_is_required_ends_the_start(path, damaged):
    with pytest.raises(ZeroproxyError, match=r"is damaged .*recover"):
        metering_over(path, FakeEngine(), "required = true\n").start()
    assert path.read_bytes() == damaged
    assert asides(path) == []


@pytest.mark.parametrize(("required", "level"), [(True, "error"), (False, "warning")])
def test_check_tells_what_would_be_done(path, damaged, required, level):
    found = Findings()
    check_ledger(found, str(path), required)
    assert found.rows[-1][1].startswith(level[:4])
    assert path.read_bytes() == damaged


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR])
async def test_a_ledger_that_cannot_be_used_now_is_used_later(path, caplog, monkeypatch, code):
    error = sqlite3.OperationalError("not now")
    error.sqlite_errorcode = code
    opened, fails = Ledger._open, [True]

    def not_now(self):
        if fails:
            raise error
        opened(self)

    monkeypatch.setattr(Ledger, "_open", not_now)
    engine = FakeEngine(slots=8)
    metering = metering_over(path, engine, f'sinks = [{{ kind = "jsonl", path = "{path}.l" }}]\n')
    metering.start()
    engine.finish(500)
    await until(lambda: metering.state()["flusher"]["failures"]["ledger"] > 2)
    assert metering.state()["ledger"]["ok"] is False
    fails.clear()
    await until(lambda: metering.state()["ledger"]["ok"])
    await until(lambda: sums(path)[0] == 500)
    metering.stop()
    assert asides(path) == []
    assert "cannot be used: not now; requests are served" in caplog.text
    monkeypatch.setattr(Ledger, "_open", opened)
    fails.append(True)
    monkeypatch.setattr(Ledger, "_open", not_now)
    with pytest.raises(ZeroproxyError, match="not now"):
        metering_over(path, FakeEngine(), "required = true\n").start()


async def test_damage_that_shows_while_it_runs_loses_nothing_that_comes(path, caplog, monkeypatch):
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    real, damage = Ledger._write, []

    def write(self, batch):
        if damage:
            damage.pop()
            raise error
        real(self, batch)

    monkeypatch.setattr(Ledger, "_write", write)
    engine = FakeEngine()
    flusher = Flusher(engine, Ledger(path), [])
    flusher.start()
    engine.finish(5)
    await until(lambda: sums(path)[0] == 5)
    damage.append(1)
    engine.finish(7)
    await until(lambda: flusher.state()["damaged"] == 1)
    await until(lambda: path.exists() and not flusher.state()["failing"])
    flusher.stop()
    (aside,) = [p for p in asides(path) if not p.name.endswith(("-wal", "-shm"))]
    assert query(aside, "SELECT sum(count) FROM exchange") == [(5,)]
    assert sums(path)[0] == 7


def test_only_the_file_that_is_damaged_is_put_aside(path):
    """Another process that shares it has begun a new one already."""
    one, other = Ledger(path), Ledger(path)
    one.write(make_batch([1]))
    one.put_aside()
    one.write(make_batch([2]))
    other.put_aside()
    other.write(make_batch([3]))
    assert sums(path)[0] == 2
    assert len([p for p in asides(path) if not p.name.endswith(("-wal", "-shm"))]) == 1
    one.close()
    other.close()


class Shelf:
    def __init__(self):
        self.ids = []

    def deliver(self, ledger_id, after, rows):
        self.ids += [row["id"] for row in rows]
        return rows[-1]["seq"]

    def secrets(self):
        return ()

    def close(self):
        pass


async def test_a_feeder_leaves_a_damaged_file_for_the_new_one(path, monkeypatch):
    monkeypatch.setattr("zeroproxy.metering.outbox.IDLE", 0.01)
    monkeypatch.setattr("zeroproxy.metering.outbox.RETRY_FIRST", 0.002)
    ledger, shelf = Ledger(path, sinks=["shelf"]), Shelf()
    ledger.write(make_batch([1]))
    feeder = Feeder("shelf", "redis", shelf, ledger)
    feeder.start()
    await until(lambda: shelf.ids == ["b-1"])
    real, broken = Ledger.read_after, [feeder._ledger]

    def read_after(self, *arguments):
        if self in broken:
            raise sqlite3.DatabaseError("database disk image is malformed")
        return real(self, *arguments)

    monkeypatch.setattr(Ledger, "read_after", read_after)
    ledger.put_aside()
    ledger.write(make_batch([2]))
    await until(lambda: shelf.ids == ["b-1", "b-2"])
    feeder.ask_stop()
    assert feeder.join(10)
    ledger.close()
