"""The access log: a queue and a thread between the flusher and a file that may not be read."""

import errno
import os
import stat
import threading

import orjson
import pytest

from tests.support.records import FakeEngine, make_batch, sums
from tests.support.until import until
from zeroproxy.errors import ZeroproxyError
from zeroproxy.metering import access_log_file as jsonl
from zeroproxy.metering import access_log_queue as module
from zeroproxy.metering.access_log_file import LogFile, open_sink
from zeroproxy.metering.access_log_queue import AccessLog
from zeroproxy.metering.flusher import Flusher
from zeroproxy.metering.ledger import Ledger

PIPE = 4096  # bytes


class Out:
    def __init__(self, owned=True):
        self.lines, self.closed, self.owned = [], 0, owned

    def write(self, lines):
        assert not self.closed
        self.lines += [orjson.loads(line)["request_id"] for line in lines.splitlines()]

    def close(self):
        self.closed += 1


class Stuck(Out):
    """Nobody reads it before `go_on`."""

    def __init__(self):
        super().__init__()
        self.entered, self.go_on = threading.Event(), threading.Event()

    def write(self, lines):
        self.entered.set()
        assert self.go_on.wait(30)
        super().write(lines)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.05)


# ---------------------------------------------------------------- which file


def test_the_log_goes_to_the_new_file_and_the_old_one_is_closed():
    old, new = Out(), Out()
    log = AccessLog(old)
    log.write(make_batch([1]))
    log.switch(new)
    log.write(make_batch([2]))
    log.switch(None)
    log.write(make_batch([3]))
    assert (old.lines, new.lines) == (["r1"], ["r2"])
    assert (old.closed, new.closed) == (1, 1)


def test_a_file_that_comes_after_the_end_is_closed_at_once():
    log, late = AccessLog(None), Out()
    log.close()
    log.switch(late)
    assert late.closed == 1


def test_what_waits_is_written_before_its_file_is_closed():
    old = Stuck()
    log = AccessLog(old)
    log.write(make_batch([1]))
    assert old.entered.wait(10)
    log.write(make_batch([2]))
    switching = threading.Thread(target=log.switch, args=(Out(),))
    switching.start()
    assert not old.closed
    old.go_on.set()
    switching.join()
    assert (old.lines, old.closed) == (["r1", "r2"], 1)


def test_stdout_stays_the_same_file():
    one, other = Out(owned=False), Out(owned=False)
    log = AccessLog(one)
    log.write(make_batch([1]))
    log.switch(other)
    log.write(make_batch([2]))
    log.close()
    assert (one.lines, other.lines) == (["r1", "r2"], [])


# ---------------------------------------------------------------- a reader that stalls


async def test_a_stalled_reader_holds_up_neither_the_ledger_nor_the_stop(
    tmp_path, monkeypatch, impatient, caplog
):
    monkeypatch.setattr(module, "QUEUE_BYTES", 1 << 14)
    monkeypatch.setattr("zeroproxy.metering.flusher.INTERVAL", 0.002)
    path = tmp_path / "usage.sqlite"
    reader, writer = os.pipe()
    try:
        log = AccessLog(LogFile(writer, owned=False))
        engine = FakeEngine(slots=10_000)
        flusher = Flusher(engine, Ledger(path), [("access_log", log)])
        flusher.start()
        engine.finish(900)
        await until(lambda: sums(path)[0] == 900)
        engine.finish(900)
        flusher.stop()
        assert sums(path)[0] == 1800
        assert log.state()["dropped"] > 0
        assert log.state()["failures"] > 0
        assert caplog.text.count("access_log fails: what reads it does not keep up") == 1
    finally:
        os.close(reader)
        os.close(writer)


def test_a_reload_does_not_wait_for_a_stalled_file_for_ever(impatient):
    old, new = Stuck(), Out()
    log = AccessLog(old)
    log.write(make_batch([1]))
    assert old.entered.wait(10)
    log.write(make_batch([2, 3]))
    log.switch(new)
    log.write(make_batch([4]))
    log.close()
    assert new.lines == ["r4"]
    assert log.state()["dropped"] == 3
    old.go_on.set()


async def test_lines_are_written_again_when_it_is_read_again(monkeypatch, caplog):
    monkeypatch.setattr(module, "QUEUE_BYTES", 1)  # one batch at a time
    out = Stuck()
    log = AccessLog(out)
    log.write(make_batch([1]))
    log.write(make_batch([2, 3]))
    assert log.state()["dropped"] == 2
    out.go_on.set()
    await until(lambda: not log.state()["last_error"])
    log.write(make_batch([4]))
    log.close()
    assert out.lines == ["r1", "r4"]
    assert "access_log works again; 2 lines were dropped since the start" in caplog.text


# ---------------------------------------------------------------- the file


def test_a_line_that_a_full_disk_tears_is_alone(tmp_path, monkeypatch):
    path = tmp_path / "access.jsonl"
    full = []

    def write_some(fd, data):
        if not full:
            return os.write(fd, data)
        if full.pop() == "short":
            return os.write(fd, data[: len(data) - 10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(jsonl, "write_some", write_some)
    out = open_sink(f"jsonl:{path}")
    log = AccessLog(out)
    log.write(make_batch([1]))
    log.switch(None)
    full[:] = ["full", "short"]
    lines = b"".join(map(jsonl.to_line, make_batch([2, 3])))
    out = open_sink(f"jsonl:{path}")
    with pytest.raises(jsonl.LostLines) as found:
        out.write(lines)
    assert found.value.n == 1
    full[:] = ["full"]
    with pytest.raises(jsonl.LostLines) as found:
        out.write(jsonl.to_line(make_batch([4])[0]))
    assert found.value.n == 1
    out.write(jsonl.to_line(make_batch([5])[0]))
    out.close()
    *whole, last = path.read_bytes().splitlines()
    torn = whole.pop()
    assert [orjson.loads(line)["request_id"] for line in (*whole, last)] == ["r1", "r2", "r5"]
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(torn)


def test_a_line_that_a_crash_has_torn_is_alone(tmp_path):
    path = tmp_path / "access.jsonl"
    path.write_bytes(b'{"a":1}\n{"b":')
    log = AccessLog(open_sink(f"jsonl:{path}"))
    log.write(make_batch([1]))
    log.close()
    assert path.read_bytes().startswith(b'{"a":1}\n{"b":\n{"time"')


@pytest.mark.parametrize("mask", [0, 0o002, 0o077])
def test_a_file_that_is_made_is_for_its_owner_alone(tmp_path, mask):
    path, there = tmp_path / "access.jsonl", tmp_path / "there.jsonl"
    there.touch()
    there.chmod(0o640)
    before = os.umask(mask)
    try:
        open_sink(f"jsonl:{path}").close()
        open_sink(f"jsonl:{there}").close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(there.stat().st_mode) == 0o640


def test_a_pipe_that_nobody_reads_is_a_sentence(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(ZeroproxyError, match="no process reads it"):
        open_sink(f"jsonl:{path}")
