"""Feeders with sinks of our own, and the sink that is a file; real servers: tests/e2e."""

import sqlite3
import sys
import threading
import time
from pathlib import Path

import orjson
import pytest

from tests.support.records import make_batch
from tests.support.until import until
from zeroproxy.config.load import parse_config
from zeroproxy.config.schema import ToPostgres, ToRedis
from zeroproxy.config.secret_files import resolve, resolve_sink
from zeroproxy.errors import ConfigError, ZeroproxyError
from zeroproxy.metering import outbox as module
from zeroproxy.metering.ledger import Ledger
from zeroproxy.metering.outbox import Feeder, stop_all, without
from zeroproxy.metering.sinks.jsonl import JsonlOutbox
from zeroproxy.metering.sinks.postgres import PostgresSink, values_of
from zeroproxy.metering.sinks.redis import RedisSink
from zeroproxy.server.metering_pipeline import Metering, make_sink

CONFIG = '[[upstream]]\nname = "a"\nendpoints = ["http://127.0.0.1:1"]\n[metering]\n'


class Shelf:
    """A sink that keeps rows by id, as PostgreSQL does, and fails on request."""

    def __init__(self):
        self.rows, self.deliveries, self.error, self.closed = {}, 0, None, False
        self.gate = threading.Event()
        self.gate.set()

    def deliver(self, ledger_id, after, rows):
        self.deliveries += 1
        self.gate.wait(20)
        if self.error:
            raise self.error
        self.rows.update((row["id"], row) for row in rows)
        return rows[-1]["seq"]

    def probe(self):
        pass

    def secrets(self):
        return ("redis://:hunter2@h", "hunter2")

    def close(self):
        self.closed = True


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "RETRY_FIRST", 0.002)
    monkeypatch.setattr(module, "RETRY_LAST", 0.01)


@pytest.fixture
def ledger(tmp_path):
    found = Ledger(tmp_path / "usage.sqlite")
    yield found
    found.close()


@pytest.fixture
def start(ledger):
    running = []

    def begin(sink, name="shelf"):
        feeder = Feeder(name, "shelf", sink, ledger)
        feeder.start()
        running.append(feeder)
        return feeder

    yield begin
    stop_all(running)


# ---------------------------------------------------------------- delivery


async def test_rows_come_in_order_and_the_cursor_follows(ledger, start):
    sink = Shelf()
    ledger.write(make_batch(range(1, 1201)))
    feeder = start(sink)
    await until(lambda: feeder.state()["waiting"] == 0)
    assert [row["seq"] for row in sink.rows.values()] == list(range(1, 1201))
    assert sink.deliveries == 3
    ledger.write(make_batch(range(1201, 1211)))
    feeder.wake()
    await until(lambda: len(sink.rows) == 1210)
    stop_all([feeder])
    assert ledger.cursor("shelf") == 1210
    assert sink.closed
    assert feeder.state() == {
        "name": "shelf", "kind": "shelf", "waiting": 0, "lag_seconds": 0.0, "delivered": 1210,
        "failures": 0, "last_error": "",
    }  # fmt: skip


async def test_a_restart_goes_on_where_the_last_one_was(ledger, start):
    first, second = Shelf(), Shelf()
    ledger.write(make_batch(range(100)))
    stop_all([start(first)])
    ledger.write(make_batch(range(100, 150)))
    stop_all([start(second)])
    assert (len(first.rows), len(second.rows)) == (100, 50)


async def test_a_sink_that_fails_is_tried_again_and_told_without_its_secrets(ledger, start, caplog):
    sink = Shelf()
    sink.error = ConnectionError("cannot reach redis://:hunter2@h\nwith hunter2")
    ledger.write(make_batch(range(10)))
    feeder = start(sink)
    await until(lambda: feeder.state()["failures"] > 3)
    state = feeder.state()
    assert state["last_error"] == "ConnectionError: cannot reach *** with ***"
    assert (state["waiting"], state["delivered"]) == (10, 0)
    assert state["lag_seconds"] >= 0
    sink.error = None
    await until(lambda: feeder.state()["waiting"] == 0)
    assert feeder.state()["last_error"] == ""
    said = caplog.text
    assert said.count("shelf fails") == 1
    assert "hunter2" not in said


async def test_lag_is_the_age_of_the_oldest_row_that_waits(ledger, start):
    sink = Shelf()
    sink.gate.clear()
    old = make_batch([1], time_ns=10**18, total_ns=10**9)
    ledger.write(old + make_batch([2]))
    feeder = start(sink)
    await until(lambda: sink.deliveries)
    age = (time.time_ns() - 10**18) / 1e9 - 1
    assert feeder.state()["lag_seconds"] == pytest.approx(age, abs=20)
    sink.gate.set()
    await until(lambda: feeder.state()["lag_seconds"] == 0.0)


async def test_a_slow_sink_delays_no_other(ledger, start):
    slow, fast = Shelf(), Shelf()
    slow.gate.clear()
    ledger.write(make_batch(range(10)))
    feeders = [start(slow, "slow"), start(fast, "fast")]
    await until(lambda: feeders[1].state()["waiting"] == 0)
    assert feeders[0].state()["waiting"] == 10
    slow.gate.set()


def test_stopping_does_not_wait_for_a_sink_that_hangs(ledger, start, monkeypatch, caplog):
    monkeypatch.setattr(module, "STOP_PATIENCE", 0.05)
    sink = Shelf()
    sink.gate.clear()
    ledger.write(make_batch(range(10)))
    stop_all([start(sink)])
    assert "shelf does not answer" in caplog.text
    sink.gate.set()


async def test_a_crash_between_delivery_and_cursor_delivers_again_and_doubles_nothing(
    ledger, start, monkeypatch
):
    sink = Shelf()
    ledger.write(make_batch(range(10)))
    real, broken = Ledger.advance, []

    def advance(self, name, seq):
        if not broken:
            broken.append(seq)
            raise sqlite3.OperationalError("database is locked")
        real(self, name, seq)

    monkeypatch.setattr(Ledger, "advance", advance)
    feeder = start(sink)
    await until(lambda: feeder.state()["waiting"] == 0)
    assert sink.deliveries == 2
    assert len(sink.rows) == 10


async def test_a_sink_that_lost_everything_gets_it_again(ledger, start):
    class Forgetful(Shelf):
        def deliver(self, ledger_id, after, rows):
            if after > len(self.rows):
                return len(self.rows)
            return super().deliver(ledger_id, after, rows)

    sink = Forgetful()
    ledger.write(make_batch(range(10)))
    feeder = start(sink)
    await until(lambda: feeder.state()["waiting"] == 0)
    sink.rows.clear()
    ledger.write(make_batch([10]))
    feeder.wake()
    await until(lambda: len(sink.rows) == 11)


async def test_a_ledger_from_a_backup_is_not_taken_for_the_one_it_was(ledger, start, tmp_path):
    ledger.write(make_batch(range(5)))
    sink = JsonlOutbox(tmp_path / "x")
    sink.deliver(ledger.ledger_id, 0, [{"id": "later", "seq": 9}])
    feeder = start(sink)
    await until(lambda: feeder.state()["failures"])
    assert "rows that this ledger never had" in feeder.state()["last_error"]
    assert feeder.state()["waiting"] == 5


def test_secrets_are_cut_out_longest_first():
    assert without("a pw-long b pw\n", ("pw", "pw-long", "")) == "a *** b ***"


# ---------------------------------------------------------------- the file


def lines_of(path):
    return [orjson.loads(line)["id"] for line in path.read_bytes().splitlines()]


def rows_of(ledger, n):
    return ledger.read_after(0, n)


def test_a_file_gets_each_row_once_whatever_is_repeated(ledger, tmp_path):
    ledger.write(make_batch(range(10)))
    path = tmp_path / "out.jsonl"
    rows = rows_of(ledger, 10)
    sink = JsonlOutbox(path)
    assert sink.deliver(ledger.ledger_id, 0, rows[:6]) == 6
    assert sink.deliver(ledger.ledger_id, 0, rows[:6]) == 6
    sink.close()
    sink = JsonlOutbox(path)
    assert sink.deliver(ledger.ledger_id, 0, rows) == 10
    sink.close()
    assert lines_of(path) == [f"b-{k}" for k in range(10)]
    first = orjson.loads(path.read_bytes().splitlines()[0])
    assert (first["ledger_id"], first["seq"]) == (ledger.ledger_id, 1)
    assert "cached_tokens" not in first


@pytest.mark.parametrize("tail", [b'{"id": "b-', b'{"id":"b-5"}\n{"id":"b-6"}\n'])
def test_a_batch_that_a_crash_cut_short_is_written_anew(ledger, tmp_path, tail):
    ledger.write(make_batch(range(10)))
    path = tmp_path / "out.jsonl"
    path.write_bytes(b'{"id":"before"}\n')
    rows = rows_of(ledger, 10)
    sink = JsonlOutbox(path)
    sink.deliver(ledger.ledger_id, 0, rows[:5])
    sink.close()
    with path.open("ab") as out:
        out.write(tail)
    sink = JsonlOutbox(path)
    sink.deliver(ledger.ledger_id, 5, rows[5:])
    sink.close()
    assert lines_of(path) == ["before", *(f"b-{k}" for k in range(10))]


def test_a_file_that_was_rotated_is_begun_again(ledger, tmp_path):
    ledger.write(make_batch(range(10)))
    path, rows = tmp_path / "out.jsonl", rows_of(ledger, 10)
    sink = JsonlOutbox(path)
    sink.deliver(ledger.ledger_id, 0, rows[:5])
    path.rename(tmp_path / "out.1")
    sink.deliver(ledger.ledger_id, 5, rows[5:])
    sink.close()
    assert lines_of(tmp_path / "out.1") + lines_of(path) == [f"b-{k}" for k in range(10)]


def test_two_processes_do_not_write_the_same_file(ledger, tmp_path):
    ledger.write(make_batch(range(2)))
    rows = rows_of(ledger, 2)
    one, two = JsonlOutbox(tmp_path / "x"), JsonlOutbox(tmp_path / "x")
    one.deliver(ledger.ledger_id, 0, rows)
    with pytest.raises(ZeroproxyError, match="is in use by another process"):
        two.deliver(ledger.ledger_id, 0, rows)
    one.close()
    assert two.deliver(ledger.ledger_id, 0, rows) == 2
    two.close()
    assert len(lines_of(tmp_path / "x")) == 2


def test_a_damaged_note_is_a_sentence(ledger, tmp_path):
    (tmp_path / "x.cursor").write_bytes(b"?" * 256)
    ledger.write(make_batch(range(2)))
    sink = JsonlOutbox(tmp_path / "x")
    with pytest.raises(ZeroproxyError, match=r"x\.cursor is damaged; remove it"):
        sink.deliver(ledger.ledger_id, 0, rows_of(ledger, 2))
    sink.close()


# ---------------------------------------------------------------- how sinks are made


@pytest.mark.parametrize(
    ("package", "make"),
    [("redis", lambda: RedisSink("redis://h", "s", 0)), ("psycopg", lambda: PostgresSink("", "t"))],
)
def test_a_missing_package_is_a_sentence_that_names_it(monkeypatch, package, make):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ZeroproxyError, match=r"pip install '(redis|psycopg\[binary\])>="):
        make()


@pytest.mark.parametrize(
    "text",
    ['{ kind = "postgres", dsn = "password=hunter2 nonsense" }',
     '{ kind = "redis", url = "redis://:hunter2@h:port" }'],
)  # fmt: skip
def test_an_address_that_is_none_is_a_sentence_without_secrets(text):
    with pytest.raises(ZeroproxyError) as found:
        make_sink(*parse_config(f"{CONFIG}sinks = [{text}]\n").metering.sinks)
    assert "hunter2" not in str(found.value)
    assert found.value.__suppress_context__


def test_a_secret_may_come_from_a_file(tmp_path):
    dsn = tmp_path / "dsn"
    dsn.write_text("host=h\npassword='hünter 2'\n")
    sink = ToPostgres(dsn_file=str(dsn))
    assert resolve_sink(sink) == ToPostgres(dsn="host=h\npassword='hünter 2'")
    assert resolve_sink(ToPostgres(dsn="given")) == ToPostgres(dsn="given")
    url = tmp_path / "url"
    url.write_text("redis://:hunter2@h\n")
    assert resolve_sink(ToRedis(url_file=str(url))) == ToRedis(url="redis://:hunter2@h")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "cannot be read: No such file or directory"),
        (b" \n", "is empty"),
        (b"redis://:hunter2@h\xff", "is not UTF-8 (byte 18)"),
        (b"redis://:hunter2@h\0", "holds a NUL"),
        (b"redis://:hunter2@h\nredis://h", "holds more than one line of printable ASCII"),
        (b"http://:hunter2@h", "expected a URL: redis://, rediss://, unix://"),
        (b"redis://:hunter2@h:port", "its port is no number from 0 to 65535"),
    ],
)
def test_a_file_that_holds_no_secret_is_one_error_wherever_it_is_named(tmp_path, text, says):
    path = tmp_path / "url"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(ConfigError) as of_sink:
        make_sink(ToRedis(url_file=str(path), name="shelf"))
    assert str(of_sink.value) == f"{path}: sink shelf: url_file: {says}"
    config = parse_config(
        '[[upstream]]\nname = "u"\nendpoints = ["http://127.0.0.1:1"]\n'
        f'[auth]\nkey = [{{ sha256 = "{64 * "a"}" }}]\nshared = {{ url_file = "{path}" }}\n'
    )
    with pytest.raises(ConfigError) as of_auth:
        resolve(config)
    assert str(of_auth.value) == f"{path}: auth.shared.url_file: {says}"


def test_postgres_gets_times_to_the_microsecond_and_no_nul(ledger):
    ledger.write(make_batch([1], model="a\0b", time_ns=1_800_000_000_123_456_789))
    (row,) = rows_of(ledger, 1)
    values = values_of(row)
    assert values[0].isoformat() == "2027-01-15T08:00:00.123456+00:00"
    assert "a\ufffdb" in values


class Engine:
    def records(self, n):
        return []


def test_what_cannot_start_leaves_nothing_open(tmp_path):
    before = set(Path("/proc/self/fd").iterdir())
    path = tmp_path / "x.sqlite"
    path.write_text("no ledger")
    text = f'{CONFIG}ledger = "{path}"\n[log]\naccess = "jsonl:{tmp_path}/log"\n'
    metering = Metering(parse_config(text), Engine())
    with pytest.raises(ZeroproxyError, match="is no SQLite database"):
        metering.start()
    metering.stop()
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_without_a_ledger_and_a_log_nothing_runs():
    threads = threading.active_count()
    metering = Metering(parse_config(CONFIG + 'ledger = ""\n'), Engine())
    metering.start()
    assert threading.active_count() == threads
    state = metering.state()
    assert (state["ledger"], state["flusher"], state["otel"], state["sinks"]) == (
        None,
        None,
        None,
        [],
    )
    metering.stop()
