"""Records that the ledger refuses or could not take in time. None affects another, none is lost,
none is there twice, whatever process shares the files."""

import os
import sqlite3
import subprocess
import sys
import threading

import pytest

from tests.support.records import FakeEngine, make_batch, query, sums
from tests.support.until import until
from zeroproxy.config.load import parse_config
from zeroproxy.metering import flusher as module
from zeroproxy.metering import rescue_file as rescue
from zeroproxy.metering.flusher import BATCH, Flusher
from zeroproxy.metering.ledger import Ledger
from zeroproxy.server.metering_pipeline import Metering


class ListSink:
    def __init__(self):
        self.ids = []

    def write(self, batch):
        self.ids += [record["id"] for record in batch]

    def close(self):
        pass


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "INTERVAL", 0.002)
    monkeypatch.setattr(module, "RETRY_FIRST", 0.002)
    monkeypatch.setattr(module, "RETRY_LAST", 0.01)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "usage.sqlite"


def total(n):
    return n, n * (n + 1) // 2


# ---------------------------------------------------------------- refused


class Picky:
    """A ledger that refuses records of the model "poison", and a batch that holds one."""

    def __init__(self, path):
        self.real = Ledger(path)
        self.path, self.close, self.prune = self.real.path, self.real.close, lambda: 0
        self.replaced = 0
        self.failures = 0  # of the disk, while it writes records apart

    def check(self, batch):
        if any(r.get("model") == "poison" for r in batch):
            raise sqlite3.IntegrityError("datatype mismatch")

    def write(self, batch):
        self.check(batch)
        self.real.write(batch)

    def write_missing(self, batch):
        self.check(batch)
        if self.failures:
            self.failures -= 1
            raise sqlite3.OperationalError("disk I/O error")
        return self.real.write_missing(batch)

    def write_apart(self, batch):
        return Ledger.write_apart(self, batch)


def lines_of(path):
    return [line for line in path.read_bytes().split(b"\n") if line]


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_a_record_the_ledger_refuses_takes_no_other_along(path, caplog, failures):
    engine, sink = FakeEngine(), ListSink()
    ledger = Picky(path)
    ledger.failures = failures
    flusher = Flusher(engine, ledger, [("log", sink)])
    engine.finish(100)
    engine.finish(1, model="poison")
    engine.finish(100)
    engine.finish(2, model="poison")
    engine.finish(5)
    flusher.start()
    flusher.stop()
    assert sums(path)[0] == 205
    assert len(lines_of(rescue.refused_path(path))) == 3
    assert not rescue.rescue_path(path).exists()
    assert len(set(sink.ids)) == len(sink.ids) == 208
    assert flusher.state()["refused"] == 3
    assert caplog.text.count("the ledger refuses 3 records (datatype mismatch)") == 1


def test_what_the_ledger_refused_is_tried_again_by_the_next_start(path):
    engine = FakeEngine()
    flusher = Flusher(engine, Picky(path), [])
    engine.finish(BATCH, model="poison")
    engine.finish(5)
    flusher.start()
    flusher.stop()
    assert sums(path)[0] == 5
    assert len(lines_of(rescue.refused_path(path))) == BATCH
    ledger = Ledger(path)  # it takes them now
    assert rescue.take_in(ledger) == (0, 0), "only if it is asked to"
    assert rescue.take_in(ledger, refused_too=True) == (BATCH, 0)
    ledger.close()
    assert sums(path) == total(BATCH + 5)
    assert not rescue.refused_path(path).exists()


def test_refused_records_that_cannot_be_kept_aside_are_kept(path, monkeypatch):
    tries = []

    def fails_twice(path, lines):
        tries.append(path)
        if len(tries) < 3:
            raise OSError(28, "No space left on device")
        rescue.append(path, lines)

    monkeypatch.setattr(module, "append", fails_twice)
    engine = FakeEngine()
    flusher = Flusher(engine, Picky(path), [])
    engine.finish(3)
    engine.finish(1, model="poison")
    engine.finish(3)
    flusher.start()
    flusher.stop()
    assert sums(path)[0] == 6
    assert len(lines_of(rescue.refused_path(path))) == 1
    assert len(tries) == 3


def test_an_absurd_sum_of_one_endpoint_takes_no_row_of_another_along(path):
    """`hourly` would leave 64 bits with the second batch, which a STRICT table refuses."""
    engine = FakeEngine()
    flusher = Flusher(engine, Ledger(path), [])
    engine.finish(2 * BATCH)
    for record in engine.ring[::8]:
        record.update(endpoint="http://absurd:1", completion_tokens=10**18)
    flusher.start()
    flusher.stop()
    (good,) = query(path, "SELECT sum(count) FROM exchange WHERE endpoint = 'http://h:1'")
    assert good == (2 * BATCH * 7 // 8,)
    kept = query(path, "SELECT sum(count) FROM exchange")[0][0]
    refused = lines_of(rescue.refused_path(path))
    assert refused
    assert kept + len(refused) == 2 * BATCH


# ---------------------------------------------------------------- sharing the rescue file

APPENDER = """
import sys
from pathlib import Path
from tests.support.records import make_batch
from zeroproxy.metering import rescue_file as rescue
first, path = int(sys.argv[1]), rescue.rescue_path(Path(sys.argv[2]))
for k in range(first, first + 150):
    rescue.append(path, rescue.to_lines(make_batch([k])))
"""


def test_what_is_appended_while_the_file_is_taken_in_is_not_lost(path):
    ledger = Ledger(path)
    command = [sys.executable, "-c", APPENDER]
    appenders = [subprocess.Popen([*command, str(k), str(path)]) for k in (1, 151)]
    taken = 0
    while any(a.poll() is None for a in appenders):
        taken += rescue.take_in(ledger)[0]
    assert [a.wait() for a in appenders] == [0, 0]
    taken += rescue.take_in(ledger)[0]
    ledger.close()
    assert taken == 300
    assert sums(path) == total(300)
    assert not rescue.has_rescued(path)


def test_records_appended_in_mid_take_in_are_there_afterwards(path, monkeypatch):
    where = rescue.rescue_path(path)
    rescue.append(where, rescue.to_lines(make_batch([1, 2])))
    chunk = rescue.take_chunk

    def meanwhile(ledger, lines):
        other = threading.Thread(
            target=rescue.append, args=(where, rescue.to_lines(make_batch([3])))
        )
        other.start()
        other.join()
        return chunk(ledger, lines)

    monkeypatch.setattr(rescue, "take_chunk", meanwhile)
    ledger = Ledger(path)
    assert rescue.take_in(ledger) == (2, 0)
    monkeypatch.setattr(rescue, "take_chunk", chunk)
    assert rescue.take_in(ledger) == (1, 0)
    ledger.close()
    assert sums(path) == total(3)


def test_what_a_process_that_died_had_begun_to_take_in_is_taken_in(path):
    where = rescue.rescue_path(path)
    rescue.append(where, rescue.to_lines(make_batch([1, 2])))
    for name, fd in rescue.claim(where):
        os.close(fd)  # as the kernel does
        assert rescue.claimed(where) == [name]
    rescue.append(where, rescue.to_lines(make_batch([2, 3])))
    ledger = Ledger(path)
    assert rescue.take_in(ledger) == (3, 0)
    ledger.close()
    assert sums(path) == total(3)
    assert rescue.claimed(where) == []


def test_two_that_take_in_at_once_do_it_once(path):
    where = rescue.rescue_path(path)
    rescue.append(where, rescue.to_lines(make_batch([1, 2])))
    ledger = Ledger(path)
    for _, fd in rescue.claim(where):
        assert rescue.take_in(ledger) == (0, 0), "another is at it"
        os.close(fd)
    assert rescue.take_in(ledger) == (2, 0)
    ledger.close()


async def test_a_rescue_file_and_a_locked_ledger_are_no_reason_not_to_start(path, monkeypatch):
    monkeypatch.setattr(module, "PRUNE_EVERY", 0.01)
    monkeypatch.setattr("zeroproxy.metering.ledger.BUSY_TIMEOUT_MS", 10)
    Ledger(path).close()
    rescue.append(rescue.rescue_path(path), rescue.to_lines(make_batch([1, 2])))
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    config = parse_config(
        '[[upstream]]\nname = "a"\nendpoints = ["http://127.0.0.1:1"]\n'
        f'[metering]\nledger = "{path}"\n'
    )
    metering = Metering(config, FakeEngine())
    metering.start()
    try:
        assert rescue.rescue_path(path).exists()
        lock.close()
        await until(lambda: sums(path) == total(2))
        await until(lambda: not rescue.has_rescued(path))
    finally:
        metering.stop()
