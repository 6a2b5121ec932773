"""The ledger: whole batches, once; bounded forgetting; other people's files left alone."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest

from tests.support.records import NOON_NS, make_batch, query, sums
from zeroproxy.errors import ZeroproxyError
from zeroproxy.metering import ledger as module
from zeroproxy.metering import rescue_file as rescue
from zeroproxy.metering.ledger import Ledger
from zeroproxy.metering.schema import EXCHANGE_COLUMNS, VERSION

DAY = 86400
NOON = NOON_NS / 1e9


@pytest.fixture
def path(tmp_path):
    return tmp_path / "usage.sqlite"


@pytest.fixture
def ledger(path):
    found = Ledger(path)
    yield found
    found.close()


# ---------------------------------------------------------------- opening


def test_a_new_ledger_is_private_versioned_and_has_an_id(ledger, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ledger.write(make_batch([1]))
    assert stat.S_IMODE((path.parent / "usage.sqlite-wal").stat().st_mode) == 0o600
    assert query(path, "PRAGMA user_version") == [(VERSION,)]
    assert query(path, "PRAGMA journal_mode") == [("wal",)]
    assert len(ledger.ledger_id) == 16


def test_it_is_the_same_ledger_when_opened_again(ledger, path):
    ledger.write(make_batch([1, 2]))
    again = Ledger(path)
    assert (again.ledger_id, again.last_seq) == (ledger.ledger_id, 2)
    again.close()


def test_a_newer_version_is_refused_and_left_alone(ledger, path):
    ledger.close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.close()
    with pytest.raises(ZeroproxyError, match=rf"{path} was written by a newer zeroproxy"):
        Ledger(path)
    assert query(path, "PRAGMA user_version") == [(VERSION + 1,)]


def test_migrations_run_one_after_the_other(ledger, path, monkeypatch):
    ledger.write(make_batch([1]))
    monkeypatch.setattr(module, "VERSION", VERSION + 2)
    steps = {VERSION: "CREATE TABLE one (x) STRICT;\n", VERSION + 1: "DROP TABLE one;\n"}
    steps[VERSION] = "CREATE TABLE one (x INTEGER);\nINSERT INTO one VALUES (1);\n"
    monkeypatch.setattr(module, "MIGRATIONS", {**module.MIGRATIONS, **steps})
    again = Ledger(path)
    assert again.ledger_id == ledger.ledger_id
    again.close()
    assert query(path, "PRAGMA user_version") == [(VERSION + 2,)]
    assert sums(path) == (1, 1)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"hello, this is no database at all" * 40, "is no SQLite database"), (b"x", "is no SQLite")],
)
def test_a_file_that_is_something_else_is_refused_and_left_alone(path, content, says):
    path.write_bytes(content)
    with pytest.raises(ZeroproxyError, match=f"the ledger {path} {says}"):
        Ledger(path)
    assert path.read_bytes() == content


def test_a_database_of_somebody_else_is_refused_and_left_alone(path):
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE precious (x)")
    db.commit()
    db.close()
    before = path.read_bytes()
    with pytest.raises(ZeroproxyError, match="is a SQLite database, but no ledger"):
        Ledger(path)
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 1")
    db.close()
    with pytest.raises(ZeroproxyError, match="is no ledger: it has no table"):
        Ledger(path)
    assert path.read_bytes()[100:] == before[100:]


def test_a_damaged_ledger_is_a_sentence(ledger, path):
    for k in range(20):
        ledger.write(make_batch(range(k * 100, k * 100 + 100)))
    ledger.close()
    damaged = bytearray(path.read_bytes())
    damaged[4096:] = b"\xa5" * (len(damaged) - 4096)
    path.write_bytes(damaged)
    with pytest.raises(ZeroproxyError, match=rf"{path} is damaged .*recover"):
        Ledger(path)


def test_a_folder_that_is_missing_is_a_sentence(tmp_path):
    with pytest.raises(ZeroproxyError, match="cannot be opened: No such file or directory"):
        Ledger(tmp_path / "no" / "x.sqlite")
    with pytest.raises(ZeroproxyError, match="cannot be opened: it is a directory"):
        Ledger(tmp_path)


def test_many_may_open_a_new_one_at_once(path):
    gate = threading.Barrier(8)

    def work(k):
        gate.wait()
        found = Ledger(path)
        found.write(make_batch([1], boot=str(k)))
        found.close()
        return found.ledger_id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(work, range(8)))) == 1
    assert sums(path) == (8, 8)


def locks_of(path) -> list[str]:
    """Locks of this process on the file, as the kernel lists them, without their numbers there."""
    inode = f":{path.stat().st_ino} "
    lines = Path("/proc/locks").read_text().splitlines()
    mine = [line for line in lines if f" {os.getpid()} " in line and inode in line]
    return [line.partition(":")[2] for line in mine]


def test_opening_it_once_more_takes_no_lock_from_the_first(ledger, path):
    """close(2) drops all locks: the first way to corrupt a database, by SQLite's manual."""
    ledger.write(make_batch([1]))
    before = locks_of(path)
    if not before:
        pytest.skip("NOT TESTED: /proc/locks does not show this process")
    again = Ledger(path)
    assert again.read_after(0, 1)
    again.close()
    assert locks_of(path) == before


# ---------------------------------------------------------------- writing


def test_a_batch_written_twice_is_there_once(ledger, path):
    batch = make_batch(range(1, 101))
    ledger.write(batch)
    ledger.write(batch)
    assert sums(path) == (100, 5050)
    assert ledger.last_seq == 100


def test_every_column_comes_from_its_key_and_unknown_tokens_stay_unknown(ledger):
    ledger.write(make_batch([7], tenant="t", trace_id="ab", prompt_tokens=None))
    (row,) = ledger.read_after(0, 10)
    assert list(row) == ["seq", *EXCHANGE_COLUMNS]
    expected = make_batch([7])[0]
    assert {k: row[k] for k in ("id", "count", "completion_tokens", "path")} == {
        k: expected[k] for k in ("id", "count", "completion_tokens", "path")
    }
    assert (row["prompt_tokens"], row["cached_tokens"]) == (None, None)
    assert (row["tenant"], row["trace_id"], row["finish"], row["gap_max_ns"]) == ("t", "ab", "", 0)


def test_hourly_adds_up_by_its_key(ledger, path):
    ledger.write(
        make_batch([1, 2])
        + make_batch([3], model="n")
        + make_batch([4], outcome="upstream/waiting/timeout", ttft_ns=0)
        + make_batch([5], time_ns=NOON_NS + 3600 * 10**9)
        + [{**make_batch([6])[0], "outcome": "overflow", "count": 10, "ttft_ns": 0}]
    )
    rows = query(
        path,
        "SELECT hour % 86400 / 3600, model, requests, failed, completion_tokens, ttft_count "
        "FROM hourly ORDER BY hour, model",
    )
    hour = int(NOON) % DAY // 3600
    assert rows == [(hour, "m", 13, 1, 13, 2), (hour, "n", 1, 0, 3, 1), (hour + 1, "m", 1, 0, 5, 1)]


def test_no_value_can_make_it_refuse_a_record(ledger, path):
    ledger.write(
        make_batch([1], bytes_out=1 << 70, status=None, model="\ud800x\0", path=None, events=True)
    )
    (row,) = ledger.read_after(0, 1)
    assert (row["bytes_out"], row["model"], row["path"]) == ((1 << 63) - 1, "?x\0", "")


def test_a_full_disk_leaves_it_as_it_was(ledger, path):
    ledger.write(make_batch([1]))
    pages = ledger._one("PRAGMA page_count")
    ledger._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        ledger.write(make_batch(range(2, 2000)))
    assert sums(path) == (1, 1)
    ledger._db.execute("PRAGMA max_page_count = 100000")
    ledger.write(make_batch(range(2, 2000)))
    assert sums(path)[0] == 1999


WRITER = """
import itertools, sys
from tests.support.records import make_batch
from zeroproxy.metering.ledger import Ledger
ledger = Ledger(sys.argv[1])
for k in itertools.count():
    ledger.write(make_batch(range(k * 500, k * 500 + 500)))
    print(k, flush=True)
"""


@pytest.mark.parametrize("after", [1, 7, 20])
def test_kill_9_in_mid_write_leaves_whole_batches(path, after):
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        for line in writer.stdout:
            if int(line) == after:
                break
        writer.kill()
        said = after + 1 + sum(1 for _ in writer.stdout)
    ledger = Ledger(path)
    assert query(path, "PRAGMA integrity_check") == [("ok",)]
    count, _ = sums(path)
    assert count % 500 == 0
    assert count // 500 in (said, said + 1), "what was said to be written is there"
    ledger.write(make_batch(range(count, count + 500)))
    assert sums(path)[0] == count + 500
    ledger.close()


# ---------------------------------------------------------------- the outbox and forgetting


def test_cursors_are_kept_by_name(ledger, path):
    ledger.write(make_batch(range(1, 11)))
    assert ledger.cursor("a") == 0
    ledger.advance("a", 4)
    ledger.advance("b", 9)
    ledger.advance("a", 6)
    assert (ledger.cursor("a"), ledger.cursor("b")) == (6, 9)
    assert [row["seq"] for row in ledger.read_after(6, 3)] == [7, 8, 9]
    assert ledger.read_after(10, 3) == []


def test_only_old_rows_that_every_sink_has_are_forgotten(path):
    ledger = Ledger(path, sinks=["a", "b"], retention_days=7)
    ledger.write(make_batch(range(1, 11)))
    ledger.write(make_batch([11, 12], time_ns=NOON_NS + 6 * DAY * 10**9))
    late = NOON + 8 * DAY
    assert ledger.prune(late) == 0, "b has nothing"
    ledger.advance("a", 12)
    ledger.advance("b", 4)
    assert ledger.prune(NOON + 6 * DAY) == 0, "not old"
    assert ledger.prune(late) == 4
    ledger.advance("b", 12)
    assert ledger.prune(late) == 6
    assert ledger.prune(late) == 0
    assert [row["seq"] for row in ledger.read_after(0, 100)] == [11, 12]
    assert query(path, "SELECT sum(requests) FROM hourly") == [(12,)]
    assert ledger.state()["rows"] == 2
    ledger.close()


def test_a_sequence_number_is_never_used_twice(path):
    ledger = Ledger(path, retention_days=1)
    ledger.write(make_batch(range(1, 11)))
    assert ledger.prune(NOON + 9 * DAY) == 10
    ledger.close()
    ledger = Ledger(path)
    assert (ledger.last_seq, ledger.state()["rows"]) == (10, 0)
    ledger.write(make_batch([11]))
    assert ledger.last_seq == 11
    ledger.close()


def test_forgetting_is_done_in_bounded_steps(path, monkeypatch):
    monkeypatch.setattr(module, "PRUNE_STEP", 30)
    ledger = Ledger(path, retention_days=1)
    ledger.write(make_batch(range(100)))
    assert [ledger.prune(NOON + 9 * DAY) for _ in range(5)] == [30, 30, 30, 10, 0]
    ledger.close()


def test_hourly_sums_have_a_retention_of_their_own(path):
    ledger = Ledger(path, hourly_retention_days=400)
    ledger.write(make_batch([1]))
    ledger.prune(NOON + 399 * DAY)
    assert query(path, "SELECT count(*) FROM hourly") == [(1,)]
    ledger.prune(NOON + 402 * DAY)
    assert query(path, "SELECT count(*) FROM hourly") == [(0,)]
    assert query(path, "SELECT count(*) FROM exchange") == [(1,)], "for ever"
    ledger.close()


# ---------------------------------------------------------------- the rescue file


def test_rescued_records_are_taken_in_once(ledger, path):
    batch = make_batch(range(1, 2501))
    ledger.write(batch[:10])
    where = rescue.rescue_path(path)
    rescue.append(where, rescue.to_lines(batch[:1000]))
    rescue.append(where, rescue.to_lines(batch[900:]))
    assert stat.S_IMODE(where.stat().st_mode) == 0o600
    assert rescue.take_in(ledger) == (2490, 0)
    assert not where.exists()
    assert sums(path) == (2500, 2500 * 2501 // 2)
    assert rescue.take_in(ledger) == (0, 0)


def test_lines_that_cannot_be_read_are_put_aside(ledger, path):
    where = rescue.rescue_path(path)
    good = rescue.to_lines(make_batch([1, 2]))
    rescue.append(where, [good[0], b'{"id": "b-9", "tim', b"[]", b'{"id": "x", "status": "no"}'])
    os.truncate(where, where.stat().st_size - 1)
    rescue.append(where, good[1:])
    assert rescue.take_in(ledger) == (2, 3)
    assert sums(path) == (2, 3)
    refused = rescue.refused_path(path).read_bytes().split()
    assert b"[]" in refused
    assert not where.exists()


def test_a_rescue_file_is_kept_while_the_ledger_cannot_take_it(ledger, path):
    where = rescue.rescue_path(path)
    rescue.append(where, rescue.to_lines(make_batch([1])))
    before = where.read_bytes()
    lock = sqlite3.connect(path)
    lock.execute("BEGIN IMMEDIATE")
    ledger._db.execute("PRAGMA busy_timeout = 10")
    with pytest.raises(ZeroproxyError, match="database is locked"):
        rescue.take_in(ledger)
    lock.close()
    assert where.read_bytes() == before
    assert orjson.loads(before.split()[0])["id"] == "b-1"
    assert rescue.take_in(ledger) == (1, 0)
