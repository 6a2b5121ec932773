"""The flusher: nothing lost and nothing doubled, whatever the ledger does."""

import asyncio
import contextlib
import sqlite3
import threading

import pytest

from tests.support.records import FakeEngine, make_batch, overflow_total, query, sums
from tests.support.until import until
from zeroproxy.metering import flusher as module
from zeroproxy.metering import rescue_file as rescue
from zeroproxy.metering.flusher import BATCH, Flusher, RingReader
from zeroproxy.metering.ledger import Ledger


class ListSink:
    def __init__(self, fails=False):
        self.batches, self.fails, self.closed = [], fails, False

    def write(self, batch):
        self.batches.append(batch)
        if self.fails:
            raise OSError("no")

    def close(self):
        self.closed = True

    @property
    def ids(self):
        return [record["id"] for batch in self.batches for record in batch]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Waits as short as the tests' patience; the order of things stays."""
    monkeypatch.setattr(module, "INTERVAL", 0.002)
    monkeypatch.setattr(module, "RETRY_FIRST", 0.002)
    monkeypatch.setattr(module, "RETRY_LAST", 0.01)
    monkeypatch.setattr(module, "STOP_PATIENCE", 0.05)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "usage.sqlite"


@contextlib.contextmanager
def flushing(engine, path, sinks=(), **more):
    ledger = Ledger(path)
    ledger._db.execute("PRAGMA busy_timeout = 1")
    flusher = Flusher(engine, ledger, list(sinks), **more)
    flusher.start()
    try:
        yield flusher
    finally:
        flusher.stop()


@contextlib.contextmanager
def locked(path):
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    yield
    db.close()


def total(n):
    return n, n * (n + 1) // 2


# ---------------------------------------------------------------- ids and overflow


def test_records_get_ids_that_are_unique_across_processes():
    one, two = FakeEngine(), FakeEngine()
    one.finish(3)
    two.finish(3)
    ids = {r["id"] for r in RingReader(one).take() + RingReader(two).take()}
    assert len(ids) == 6
    assert {i.rpartition("-")[2] for i in ids} == {"1", "2", "3"}


def test_a_batch_is_bounded_and_the_rest_stays_in_the_ring():
    engine = FakeEngine()
    engine.finish(BATCH + 5)
    inlet = RingReader(engine)
    assert [len(inlet.take()) for _ in range(3)] == [BATCH, 5, 0]


def test_what_the_totals_grow_by_becomes_one_record_for_each_key():
    engine = FakeEngine(slots=0)
    inlet = RingReader(engine)
    engine.finish(3)
    engine.finish(1, model="n")
    first = inlet.take()
    assert [(r["model"], r["count"], r["completion_tokens"]) for r in first] == [
        ("m", 3, 6), ("n", 1, 4),
    ]  # fmt: skip
    assert inlet.take() == []
    engine.finish(2)
    (second,) = inlet.take()
    assert (second["count"], second["completion_tokens"], second["outcome"]) == (2, 11, "overflow")
    assert len({r["id"] for r in [*first, second]}) == 3


def test_totals_of_the_same_names_add_up():
    """An endpoint that came back at another address has a second row, with the same URL."""
    engine = FakeEngine()
    rows = [overflow_total(1, 5), overflow_total(2, 7)]
    engine.take_overflow = lambda: rows
    inlet = RingReader(engine)
    assert [(r["count"], r["completion_tokens"]) for r in inlet.take()] == [(3, 12)]
    rows[:] = [overflow_total(1, 6)]
    assert [(r["count"], r["completion_tokens"]) for r in inlet.take()] == [(1, 6)]


def test_an_engine_without_totals_is_no_trouble():
    class Bare:
        def records(self, n):
            return []

    assert RingReader(Bare()).take() == []


# ---------------------------------------------------------------- when it looks


async def test_it_sleeps_while_nobody_calls(path, monkeypatch):
    looks = []

    class Watched(FakeEngine):
        def records(self, n):
            looks.append(n)
            return super().records(n)

    engine = Watched()
    with flushing(engine, path):
        engine.finish()
        await until(lambda: sums(path) == total(1))
        await until(lambda: len(looks) >= 2)  # the record, and that there is no other
        del looks[:]
        await asyncio.sleep(50 * module.INTERVAL)
        assert looks == []
    assert looks  # the end: whether something is left


async def test_a_record_after_a_pause_is_taken_at_once_and_a_full_batch_too(path, monkeypatch):
    monkeypatch.setattr(module, "INTERVAL", 3600.0)
    engine = FakeEngine()
    with flushing(engine, path):
        engine.finish()
        await until(lambda: sums(path) == total(1))
        engine.finish(BATCH - 1)
        await asyncio.sleep(0.02)
        assert sums(path) == total(1)
        engine.finish()
        await until(lambda: sums(path) == total(BATCH + 1))
    assert sums(path) == total(BATCH + 1)


async def test_totals_that_grow_behind_the_last_look_are_found_with_the_next_pruning(
    path, monkeypatch
):
    monkeypatch.setattr(module, "PRUNE_EVERY", 0.01)
    engine = FakeEngine(slots=0)  # nothing ever comes into the ring
    with flushing(engine, path):
        engine.finish(3)
        await until(lambda: sums(path) == (3, 6))


async def test_a_stop_that_finds_it_asleep_ends_that_sleep_and_begins_no_other(path, monkeypatch):
    monkeypatch.setattr(module, "INTERVAL", 3600.0)
    sleeps = []

    class Watched(FakeEngine):
        def await_records(self, n, *, seconds):
            sleeps.append(n)
            super().await_records(n, seconds=seconds if n == 1 else 0.0)

    with flushing(Watched(), path):
        await until(lambda: sleeps == [1])
    assert sleeps == [1]


# ---------------------------------------------------------------- into the ledger


async def test_records_arrive_while_it_runs_and_the_last_ones_at_the_end(path):
    engine, sink, woken = FakeEngine(), ListSink(), threading.Event()
    with flushing(engine, path, [("log", sink)], on_written=woken.set):
        engine.finish(10)
        await until(woken.is_set)
        assert sums(path) == total(10)
        engine.finish(3000)
    assert sums(path) == total(3010)
    assert len(set(sink.ids)) == len(sink.ids) == 3010
    assert sink.closed


async def test_a_locked_ledger_loses_and_doubles_nothing(path, caplog):
    engine, sink = FakeEngine(slots=64), ListSink()
    with flushing(engine, path, [("log", sink)]) as flusher:
        with locked(path):
            engine.finish(10)
            await until(lambda: flusher.state()["failures"]["ledger"] > 2)
            engine.finish(500)
            await until(lambda: flusher.state()["failures"]["ledger"] > 4)
            assert flusher.state()["pending"] <= BATCH
            assert len(engine.ring) == 64, "nothing more is taken from the ring"
            assert sink.ids == []
        await until(lambda: not flusher.state()["failing"])
    assert sums(path) == total(510)
    assert query(path, "SELECT sum(count) FROM exchange WHERE outcome = 'overflow'") == [(436,)]
    assert len(set(sink.ids)) == len(sink.ids)
    said = caplog.text
    assert said.count("ledger fails: database is locked") == 1
    assert said.count("ledger works again") == 1


async def test_a_full_disk_loses_and_doubles_nothing(path):
    engine = FakeEngine(slots=2000)
    with flushing(engine, path) as flusher:
        db = flusher._ledger._db
        db.execute("PRAGMA max_page_count = 1")
        engine.finish(5000)
        await until(lambda: flusher.state()["failures"]["ledger"] > 2)
        assert "full" in flusher.state()["last_error"]
        engine.finish(5000)
        db.execute("PRAGMA max_page_count = 1000000")
        await until(lambda: not flusher.state()["failing"])
    assert sums(path) == total(10_000)


class HalfWay:
    """A ledger whose commit is reported as failed although it happened."""

    def __init__(self, path):
        self.real, self.lies = Ledger(path), 3
        self.path, self.replaced = self.real.path, 0

    def write(self, batch):
        self.real.write(batch)
        if self.lies:
            self.lies -= 1
            raise sqlite3.OperationalError("disk I/O error")

    def prune(self):
        return 0

    def close(self):
        self.real.close()


def test_a_commit_that_was_reported_as_failed_is_not_doubled(path):
    engine = FakeEngine(slots=5)
    engine.finish(20)
    flusher = Flusher(engine, HalfWay(path), [])
    flusher.start()
    flusher.stop()
    assert sums(path) == total(20)


def test_rescued_records_are_all_there_after_the_next_start(path, caplog):
    engine, sink = FakeEngine(slots=3000), ListSink()
    ledger = Ledger(path)
    ledger._db.execute("PRAGMA busy_timeout = 1")
    flusher = Flusher(engine, ledger, [("log", sink)])
    with locked(path):
        engine.finish(5000)
        flusher.start()
        flusher.stop()
    assert sums(path) == (0, 0)
    assert f"3001 records of 5000 requests are in {rescue.rescue_path(path)}" in caplog.text
    assert len(set(sink.ids)) == len(sink.ids) == 3001
    ledger = Ledger(path)
    assert rescue.take_in(ledger) == (3001, 0)
    ledger.close()
    assert sums(path) == total(5000)


def test_what_cannot_be_saved_at_all_is_counted_aloud(path, caplog, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "append", refuse)
    engine = FakeEngine()
    engine.finish(30)
    ledger = Ledger(path)
    ledger._db.execute("PRAGMA busy_timeout = 1")
    flusher = Flusher(engine, ledger, [])
    with locked(path):
        flusher.start()
        flusher.stop()
    assert "30 records of 30 requests ARE LOST" in caplog.text


def test_a_write_that_hangs_in_the_kernel_does_not_hold_up_the_stop(path, caplog, monkeypatch):
    monkeypatch.setattr(module, "HANG_PATIENCE", 0.05)
    go_on = threading.Event()

    class Hung(HalfWay):
        def write(self, batch):
            go_on.wait(30)

    engine, sink = FakeEngine(), ListSink()
    engine.finish(3)
    flusher = Flusher(engine, Hung(path), [("log", sink)])
    flusher.start()
    flusher.stop()
    assert "3 records of 3 requests and what is in the ring ARE LOST" in caplog.text
    assert sink.closed
    go_on.set()


async def test_a_batch_that_waits_for_the_ledger_is_shown(path):
    engine = FakeEngine()
    with flushing(engine, path) as flusher:
        assert flusher.state()["stalled_seconds"] == 0
        with locked(path):
            engine.finish(3)
            await until(lambda: flusher.state()["stalled_seconds"] > 0.05)
        await until(lambda: not flusher.state()["failing"])
        await until(lambda: flusher.state()["stalled_seconds"] == 0)


# ---------------------------------------------------------------- direct sinks


def test_a_direct_sink_that_fails_is_named_once_counted_and_holds_up_nobody(path, caplog):
    engine, bad, good = FakeEngine(), ListSink(fails=True), ListSink()
    engine.finish(3 * BATCH)
    with flushing(engine, path, [("bad", bad), ("good", good)]) as flusher:
        pass
    assert flusher.state()["failures"] == {"ledger": 0, "bad": 3, "good": 0}
    assert caplog.text.count("bad fails: no") == 1
    assert len(good.ids) == 3 * BATCH
    assert bad.closed


def test_without_a_ledger_direct_sinks_get_everything():
    engine, sink = FakeEngine(), ListSink()
    engine.finish(2000)
    flusher = Flusher(engine, None, [("log", sink)])
    flusher.start()
    flusher.stop()
    assert len(set(sink.ids)) == 2000


async def test_old_rows_are_forgotten_by_the_way(path, monkeypatch):
    monkeypatch.setattr(module, "PRUNE_EVERY", 0.0)
    ledger = Ledger(path, retention_days=1)
    ledger.write(make_batch(range(10), time_ns=10**9))
    flusher = Flusher(FakeEngine(), ledger, [])
    flusher.start()
    await until(lambda: ledger.state()["rows"] == 0)
    flusher.stop()
