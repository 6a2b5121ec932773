"""Usage on its way to a real Redis and a real PostgreSQL that stop, return, hang and forget."""

import json
import signal
import subprocess
import sys
import threading
import urllib.request
from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.postgres_server import PostgresServer
from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.records import make_batch, query, sums
from tests.support.redis_server import RedisServer
from tests.support.until import wait_until
from zeroproxy.metering.ledger import Ledger
from zeroproxy.metering.outbox import Feeder, stop_all
from zeroproxy.metering.schema import EXCHANGE_COLUMNS
from zeroproxy.metering.sinks.postgres import PostgresSink
from zeroproxy.metering.sinks.redis import CURSORS, RedisSink


@pytest.fixture(scope="module")
def redis():
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def postgres():
    with PostgresServer() as server:
        yield server


@pytest.fixture(autouse=True)
def empty(request):
    yield
    if "redis" in request.fixturenames:
        with request.getfixturevalue("redis").client() as client:
            client.flushall()
    if "postgres" in request.fixturenames:
        conn = request.getfixturevalue("postgres").connect()
        conn.execute("DROP TABLE IF EXISTS zeroproxy_usage")
        conn.close()


@pytest.fixture
def ledger(tmp_path):
    found = Ledger(tmp_path / "usage.sqlite")
    yield found
    found.close()


def metering_toml(redis, postgres, path) -> str:
    return (
        f'[metering]\nledger = "{path / "usage.sqlite"}"\nsinks = [\n'
        f'{{ kind = "redis", url = "{redis.url}" }},\n'
        f'{{ kind = "postgres", dsn = "{postgres.dsn}" }},\n'
        f'{{ kind = "jsonl", path = "{path / "usage.jsonl"}" }},\n]\n'
    )


def post_chat(url: str, tokens: int = 3) -> None:
    body = {"model": "sim-1", "max_tokens": tokens, "messages": [{"role": "user", "content": "x"}]}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        response.read()


class Load:
    """Callers that send requests until they are stopped."""

    def __init__(self, url: str, callers: int = 4) -> None:
        self.url, self.done, self.end = url, Counter(), threading.Event()
        self.threads = [threading.Thread(target=self.call, args=(k,)) for k in range(callers)]

    def call(self, k: int) -> None:
        while not self.end.is_set():
            post_chat(self.url)
            self.done[k] += 1

    @property
    def asked(self) -> int:
        return sum(self.done.values())

    def more(self, n: int) -> None:
        """Return when `n` more requests have been answered."""
        goal = self.asked + n
        wait_until(lambda: self.asked >= goal)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        for thread in self.threads:
            thread.join()


def ids_in_ledger(path) -> list[str]:
    return [i for (i,) in query(path / "usage.sqlite", "SELECT id FROM exchange ORDER BY seq")]


def demand_equal(redis, postgres, path) -> int:
    """Each row is everywhere once; returns how many there are."""
    ids = ids_in_ledger(path)
    entries = redis.entries()
    assert [entry["id"] for entry in entries] == ids
    rows = postgres.query("SELECT id, completion_tokens FROM zeroproxy_usage")
    assert sorted(row[0] for row in rows) == sorted(ids)
    lines = [json.loads(line) for line in (path / "usage.jsonl").read_bytes().splitlines()]
    assert [line["id"] for line in lines] == ids
    _, tokens = sums(path / "usage.sqlite")
    assert sum(int(entry.get("completion_tokens", 0)) for entry in entries) == tokens
    assert sum(row[1] or 0 for row in rows) == tokens
    return len(ids)


def waiting(status) -> dict[str, int]:
    return {sink["name"]: sink["waiting"] for sink in status["metering"]["sinks"]}


# ---------------------------------------------------------------- through a whole proxy


def test_all_have_all_rows_once_after_each_server_was_away_under_load(
    sim, redis, postgres, tmp_path
):
    text = upstream_toml(sim.url) + metering_toml(redis, postgres, tmp_path)
    with ProxyProcess(text) as proxy:
        with Load(proxy.url) as load:
            load.more(20)
            redis.stop()
            load.more(40)
            proxy.until(lambda s: waiting(s)["redis"] > 0 and waiting(s)["postgres"] == 0, 30)
            postgres.stop()
            redis.start()
            load.more(40)
            proxy.until(lambda s: waiting(s)["redis"] == 0 and waiting(s)["postgres"] > 0, 30)
            redis.stop(signal.SIGKILL)
            load.more(20)
            postgres.start()
            redis.start()
            load.more(20)
        asked = load.asked
        status = proxy.until(lambda s: s["metering"]["ledger"]["rows"] == asked, 30)
        assert not any(status["metering"]["flusher"]["failures"].values())
        status = proxy.until(lambda s: not any(waiting(s).values()), 60)
        assert "hunter2" not in json.dumps(status)
        families = {
            f.name: {s.labels.get("sink"): s.value for s in f.samples}
            for f in text_string_to_metric_families(proxy.fetch("/metrics").decode())
        }
        assert families["zeroproxy_sink_lag_seconds"] == {"redis": 0, "postgres": 0, "jsonl": 0}
        assert families["zeroproxy_sink_waiting"] == {"redis": 0, "postgres": 0, "jsonl": 0}
        assert families["zeroproxy_sink_failures"]["redis"] > 0
        assert families["zeroproxy_ledger_bytes"][None] > 0
        said = proxy.errors.read_text()
        assert "redis works again" in said
        assert "hunter2" not in said
    assert demand_equal(redis, postgres, tmp_path) == asked


def test_sigterm_brings_the_last_records_to_every_sink(sim, redis, postgres, tmp_path):
    text = upstream_toml(sim.url) + metering_toml(redis, postgres, tmp_path)
    with ProxyProcess(text) as proxy:
        for _ in range(25):
            post_chat(proxy.url)
    assert demand_equal(redis, postgres, tmp_path) == 25


def test_kill_9_and_a_restart_leave_the_same_rows_everywhere(sim, redis, postgres, tmp_path):
    text = upstream_toml(sim.url) + metering_toml(redis, postgres, tmp_path)
    proxy = ProxyProcess(text)
    proxy.start()
    for _ in range(30):
        post_chat(proxy.url)
    proxy.until(lambda s: s["metering"]["ledger"]["rows"] == 30)
    for _ in range(30):
        post_chat(proxy.url)
    proxy.process.kill()
    proxy.process.wait()
    proxy.folder.cleanup()
    flushed = len(ids_in_ledger(tmp_path))
    assert 30 <= flushed <= 60
    assert query(tmp_path / "usage.sqlite", "PRAGMA integrity_check") == [("ok",)]
    with ProxyProcess(text) as again:
        for _ in range(10):
            post_chat(again.url)
    assert demand_equal(redis, postgres, tmp_path) == flushed + 10


def test_a_postgresql_that_hangs_holds_up_neither_callers_nor_the_end(
    sim, redis, postgres, tmp_path
):
    text = upstream_toml(sim.url) + metering_toml(redis, postgres, tmp_path)
    with ProxyProcess(text) as proxy:
        post_chat(proxy.url)
        proxy.until(lambda s: s["metering"]["sinks"][1]["delivered"] == 1, 30)
        with postgres.connect() as lock, lock.transaction():
            lock.execute("LOCK TABLE zeroproxy_usage")
            for _ in range(30):
                post_chat(proxy.url)
            state = {"redis": 0, "postgres": 30, "jsonl": 0}
            proxy.until(lambda s: waiting(s) == state, 30)
            assert proxy.stop() == 0
            assert "postgres does not answer" in proxy.errors.read_text()
    with ProxyProcess(text) as proxy:
        proxy.until(lambda s: not any(waiting(s).values()), 30)
    assert demand_equal(redis, postgres, tmp_path) == 31


# ---------------------------------------------------------------- one sink at a time


def sinks_of(redis, postgres):
    return {
        "redis": RedisSink(redis.url, "zeroproxy:usage", 1_000_000),
        "postgres": PostgresSink(postgres.dsn, "zeroproxy_usage"),
    }


def feed(ledger, name, sink) -> None:
    feeder = Feeder(name, name, sink, ledger)
    feeder.start()
    wait_until(lambda: feeder.state()["waiting"] == 0)
    stop_all([feeder])


def test_rows_delivered_again_after_a_crash_are_there_once(ledger, redis, postgres):
    """The cursor is set back, as if the process had died before it could be written."""
    ledger.write(make_batch(range(1, 1301)))
    for back in (0, 700, 1299):
        for name, sink in sinks_of(redis, postgres).items():
            ledger.advance(name, back)
            feed(ledger, name, sink)
    assert [e["id"] for e in redis.entries()] == [f"b-{k}" for k in range(1, 1301)]
    assert postgres.query("SELECT count(*), count(DISTINCT id) FROM zeroproxy_usage") == [
        (1300, 1300)
    ]


def test_every_column_arrives_with_its_value(ledger, redis, postgres):
    ledger.write(make_batch([7], model="ä\0'\"", tenant="t", finish="done"))
    (row,) = ledger.read_after(0, 1)
    for name, sink in sinks_of(redis, postgres).items():
        feed(ledger, name, sink)
    (entry,) = redis.entries()
    known = {k: str(row[k]) for k in EXCHANGE_COLUMNS if row[k] is not None}
    assert entry == known
    (got,) = postgres.query(f"SELECT {', '.join(EXCHANGE_COLUMNS)} FROM zeroproxy_usage")
    wanted = {**row, "model": row["model"].replace("\0", "\ufffd")}
    assert dict(zip(EXCHANGE_COLUMNS, got, strict=True)) == {k: wanted[k] for k in EXCHANGE_COLUMNS}
    assert postgres.query(
        "SELECT abs(extract(epoch FROM time) - time_ns / 1e9) < 1e-3 FROM zeroproxy_usage"
    ) == [(True,)]


def test_several_ledgers_share_a_stream(redis, tmp_path):
    for name in ("one", "two"):
        ledger = Ledger(tmp_path / name)
        ledger.write(make_batch(range(10), boot=name))
        feed(ledger, "redis", RedisSink(redis.url, "zeroproxy:usage", 0))
        ledger.close()
    assert len({entry["id"] for entry in redis.entries()}) == 20
    with redis.client() as client:
        assert sorted(client.hvals(CURSORS)) == ["10", "10"]


def test_the_stream_is_bounded(ledger, redis):
    ledger.write(make_batch(range(2000)))
    feed(ledger, "redis", RedisSink(redis.url, "bounded", 500))
    assert 500 <= len(redis.entries("bounded")) < 1000


def test_a_redis_that_forgot_everything_gets_it_again(ledger):
    with RedisServer(keeps=False) as redis:
        ledger.write(make_batch(range(600)))
        feed(ledger, "redis", RedisSink(redis.url, "zeroproxy:usage", 0))
        redis.stop()
        redis.start()
        assert redis.entries() == []
        ledger.write(make_batch(range(600, 610)))
        feed(ledger, "redis", RedisSink(redis.url, "zeroproxy:usage", 0))
        assert [e["id"] for e in redis.entries()] == [f"b-{k}" for k in range(610)]


def test_a_table_may_be_in_a_schema_and_belong_to_somebody_else(ledger, postgres):
    ledger.write(make_batch(range(5)))
    owner = postgres.connect()
    owner.execute("CREATE SCHEMA billing")
    feed(ledger, "first", PostgresSink(postgres.dsn, "billing.usage"))
    owner.execute("CREATE ROLE writer LOGIN PASSWORD 'hunter2'")
    owner.execute("GRANT USAGE ON SCHEMA billing TO writer")
    owner.execute("GRANT INSERT, SELECT ON billing.usage TO writer")
    owner.close()
    ledger.write(make_batch(range(5, 8)))
    feed(ledger, "second", PostgresSink(postgres.dsn.replace("postgres:", "writer:", 1).replace(
        "writerql:", "postgresql:"), "billing.usage"))  # fmt: skip
    assert postgres.query("SELECT count(*) FROM billing.usage") == [(8,)]


# ---------------------------------------------------------------- messages


def test_a_wrong_password_is_said_without_it_and_check_warns(ledger, redis, postgres, tmp_path):
    ledger.write(make_batch(range(5)))
    wrong = postgres.dsn.replace("hunter2", "swordfish")
    feeder = Feeder("postgres", "postgres", PostgresSink(wrong, "zeroproxy_usage"), ledger)
    feeder.start()
    wait_until(lambda: feeder.state()["failures"])
    stop_all([feeder])
    assert "password authentication failed" in feeder.state()["last_error"]
    assert "swordfish" not in feeder.state()["last_error"]

    path = tmp_path / "x.toml"
    text = metering_toml(redis, postgres, tmp_path).replace(postgres.dsn, wrong)
    path.write_text(
        f'[server]\nlisten = "127.0.0.1:0"\n[admin]\nlisten = ""\n'
        f"{upstream_toml('http://127.0.0.1:1')}{text}"
    )
    command = [sys.executable, "-m", "zeroproxy", "check", "-c", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    lines = {line.split("  ")[0]: line for line in done.stdout.splitlines()}
    assert "ok" in lines["sink redis"]
    assert "warning" in lines["sink postgres"]
    assert "is a ledger of 5 rows" in lines["metering.ledger"]
    assert "swordfish" not in done.stdout + done.stderr
    assert "hunter2" not in done.stdout + done.stderr
