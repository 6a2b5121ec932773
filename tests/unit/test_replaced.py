"""A ledger that is deleted, moved away or replaced under the proxy."""

import shutil
import sqlite3

import pytest

from tests.support.records import FakeEngine, make_batch, query, sums
from tests.support.until import until
from zeroproxy.errors import ZeroproxyError
from zeroproxy.metering import flusher as flusher_module
from zeroproxy.metering import outbox as outbox_module
from zeroproxy.metering.flusher import Flusher
from zeroproxy.metering.ledger import Ledger
from zeroproxy.metering.outbox import Feeder


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(flusher_module, "INTERVAL", 0.002)
    monkeypatch.setattr(flusher_module, "RETRY_FIRST", 0.002)
    monkeypatch.setattr(flusher_module, "RETRY_LAST", 0.01)
    monkeypatch.setattr(outbox_module, "IDLE", 0.01)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "usage.sqlite"


def whole(path):
    return query(path, "PRAGMA integrity_check") == [("ok",)]


def count(path):
    return sums(path)[0]


def test_what_comes_after_a_deletion_is_in_a_new_file(path):
    ledger = Ledger(path)
    ledger.write(make_batch(range(10)))
    old = ledger.ledger_id
    path.unlink()
    ledger.write(make_batch(range(10, 15)))
    assert ledger.ledger_id != old
    assert (count(path), ledger.state()["rows"], ledger.state()["replaced"]) == (5, 5, 1)
    assert whole(path)
    ledger.close()
    assert count(path) == 5


@pytest.mark.parametrize("with_others", [False, True])
def test_a_file_that_is_moved_away_keeps_all_it_had(path, tmp_path, with_others):
    """Also while a feeder and another process have it open."""
    others = [Ledger(path), Ledger(path)] if with_others else []
    ledger = Ledger(path)
    ledger.write(make_batch(range(10)))
    for other in others:
        assert len(other.read_after(0, 100)) == 10
    aside = tmp_path / "aside.sqlite"
    path.rename(aside)
    ledger.write(make_batch(range(10, 15)))
    for other in others:
        assert len(other.read_after(0, 100)) == 10, "it goes on with what it had"
        other.advance("a", 10)
        other.follow()
        assert len(other.read_after(0, 100)) == 5 + others.index(other)
        other.write(make_batch([20 + others.index(other)]))
    n = 5 + len(others)
    assert (count(path), count(aside)) == (n, 10)
    assert whole(path)
    assert whole(aside)
    for each in (ledger, *others):
        each.close()
    assert (count(path), count(aside)) == (n, 10)


def test_another_ledger_in_its_place_is_gone_on_with(path, tmp_path):
    backup = tmp_path / "backup.sqlite"
    ledger = Ledger(path)
    ledger.write(make_batch(range(10)))
    db = sqlite3.connect(path)
    db.execute("VACUUM INTO ?", (str(backup),))
    db.close()
    ledger.write(make_batch(range(10, 15)))
    backup.replace(path)
    ledger.write(make_batch(range(15, 20)))
    assert count(path) == 15
    ledger.close()
    assert whole(path)


def test_something_else_in_its_place_is_a_sentence_and_left_alone(path):
    ledger = Ledger(path)
    path.unlink()
    path.write_text("not one")
    for _ in range(2):
        with pytest.raises(ZeroproxyError, match="is no SQLite database"):
            ledger.write(make_batch([1]))
    assert path.read_text() == "not one"
    path.unlink()
    ledger.write(make_batch([1]))
    assert count(path) == 1
    ledger.close()


async def test_the_flusher_tells_it_and_loses_nothing_that_comes(path, caplog):
    engine = FakeEngine()
    flusher = Flusher(engine, Ledger(path), [])
    flusher.start()
    engine.finish(5)
    await until(lambda: count(path) == 5)
    shutil.rmtree(path.parent)
    engine.finish(7)
    await until(lambda: flusher.state()["failures"]["ledger"] > 2)
    path.parent.mkdir()
    await until(lambda: path.exists() and not flusher.state()["failing"])
    engine.finish(1)
    flusher.stop()
    assert count(path) == 8
    assert caplog.text.count("was deleted or replaced while it was open") == 1


async def test_the_flusher_notices_it_also_while_nobody_calls(path, caplog, monkeypatch):
    monkeypatch.setattr(flusher_module, "PRUNE_EVERY", 0.01)
    flusher = Flusher(FakeEngine(), Ledger(path), [])
    flusher.start()
    path.unlink()
    await until(lambda: "was deleted or replaced" in caplog.text)
    flusher.stop()
    assert count(path) == 0


class Shelf:
    def __init__(self):
        self.ids, self.is_open = [], False

    def deliver(self, ledger_id, after, rows):
        if not self.is_open:
            raise OSError("no")
        self.ids += [row["id"] for row in rows]
        return rows[-1]["seq"]

    def secrets(self):
        return ()

    def close(self):
        pass


async def test_a_sink_gets_the_rows_of_the_old_file_and_of_the_new_one(path, monkeypatch):
    monkeypatch.setattr(outbox_module, "RETRY_FIRST", 0.002)
    monkeypatch.setattr(outbox_module, "RETRY_LAST", 0.01)
    ledger, shelf = Ledger(path, sinks=["shelf"]), Shelf()
    ledger.write(make_batch([1, 2]))
    feeder = Feeder("shelf", "redis", shelf, ledger)
    feeder.start()
    await until(lambda: feeder.state()["failures"] > 1)
    path.unlink()
    ledger.write(make_batch([3]))
    shelf.is_open = True
    await until(lambda: len(shelf.ids) == 3)
    feeder.ask_stop()
    assert feeder.join(10)
    ledger.close()
    assert shelf.ids == ["b-1", "b-2", "b-3"]
