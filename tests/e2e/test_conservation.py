"""Token totals are never lost: requests, records and sinks are compared.

A real proxy whose ring holds 8 records, two simulators, a real Redis and a real PostgreSQL. Both
databases go away twice; there are reloads, callers that leave, answers that fail, SIGTERM and kill
-9.
"""

import asyncio
import json
import os
import signal
from collections import Counter
from contextlib import ExitStack

import pytest

from tests.support import books
from tests.support.asks import TORN, WHOLE, draw, long_streams
from tests.support.callers import Crowd
from tests.support.postgres_server import PostgresServer
from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.records import query
from tests.support.redis_server import RedisServer
from tests.support.sim_process import SimProcess
from tests.support.truth import bounds, truths
from tests.support.until import until, wait_until

REQUESTS = int(os.environ.get("ZEROPROXY_CONSERVE", "20000"))
CALLERS = 48
KILLED_AFTER = 1500  # answers
AFTERWARDS = 1000  # requests
SIM = {
    "tokens_per_second": 1000, "ttft": 0.001, "max_running": 1000, "min_length": 2,
    "max_length": 8, "reasoning_tokens": 2, "prefix_cache": True, "accounts": 1_000_000,
    "keep_alive": 600,
}  # fmt: skip


class World:
    """Everything that runs, and where it writes."""

    def __init__(self, folder, stack):
        self.ring = 8  # records
        self.ledger = folder / "usage.sqlite"
        self.lines = folder / "usage.jsonl"
        self.sims = [stack.enter_context(SimProcess(*WHOLE, *TORN, **SIM)) for _ in range(2)]
        self.redis = stack.enter_context(RedisServer())
        self.postgres = stack.enter_context(PostgresServer())

    def config(self, k=0):
        """The k-th of configurations that differ in endpoints, weights and limits."""
        urls = [sim.url for sim in self.sims][: 1 if k % 3 == 2 else 2]
        weighed = [f'{{ url = "{url}", weight = {1 + (k + n) % 3} }}' for n, url in enumerate(urls)]
        # Most requests are to fail here: no breaker may spare the endpoints.
        upstream = upstream_toml(breaker="{ failures = 0 }").replace(
            "[]", f"[{', '.join(weighed)}]"
        )
        return (
            f'[limits]\nheader_count = {50 + k}\n{upstream}[metering]\nledger = "{self.ledger}"\n'
            f'ring = {self.ring}\ncontinuous_usage = "always"\nsinks = [\n'
            f'{{ kind = "redis", url = "{self.redis.url}" }},\n'
            f'{{ kind = "postgres", dsn = "{self.postgres.dsn}" }},\n'
            f'{{ kind = "jsonl", path = "{self.lines}" }},\n]\n'
        )

    def reload(self, proxy, k):
        head = proxy.path.read_text().partition("[limits]")[0]
        proxy.path.write_text(head + self.config(k))
        before = proxy.status()["reloads"]
        os.kill(proxy.pid, signal.SIGHUP)
        after = proxy.until(lambda s: s["reloads"] != before)["reloads"]
        assert after == {**before, "ok": before["ok"] + 1, "last": "ok"}

    def accounts(self):
        return [account for sim in self.sims for account in sim.accounts()]

    def written(self):
        return query(self.ledger, "SELECT total(count) FROM exchange")[0][0]

    def overflowed(self):
        """Exchanges that found the ring full."""
        asked = "SELECT total(count) FROM exchange WHERE outcome = 'overflow'"
        return query(self.ledger, asked)[0][0]

    def rows(self):
        """The detail: exchanges that the ring took, by request id."""
        names = ("request_id", "outcome", "exactness", "model", *books.COLUMNS)
        found = query(
            self.ledger, f"SELECT {', '.join(names)} FROM exchange WHERE outcome != 'overflow'"
        )
        return {row[0]: dict(zip(names, row, strict=True)) for row in found}

    def demand_same_books(self):
        """Check that every place has the same totals; returns them."""
        found = books.in_detail(self.ledger)
        assert books.in_hours(self.ledger) == found
        assert books.in_redis(self.redis) == found
        assert books.in_postgres(self.postgres) == found
        assert books.in_lines(self.lines) == found
        ids = [i for (i,) in query(self.ledger, "SELECT id FROM exchange ORDER BY seq")]
        assert [entry["id"] for entry in self.redis.entries()] == ids
        assert sorted(self.postgres.query("SELECT id FROM zeroproxy_usage")) == sorted(
            (i,) for i in ids
        )
        assert [json.loads(line)["id"] for line in self.lines.read_bytes().splitlines()] == ids
        assert query(self.ledger, "PRAGMA integrity_check") == [("ok",)]
        return found

    async def transactions(self, n):
        """Return when the ledger has had `n` more."""
        for _ in range(n):
            before = self.newest()
            await until(lambda seq=before: self.newest() > seq)

    def newest(self):
        return query(self.ledger, "SELECT max(seq) FROM exchange")[0][0]

    async def quiet(self):
        """Return when the simulators know the end of every answer."""
        for sim in self.sims:
            await until(lambda s=sim: is_quiet(s.stats()))


@pytest.fixture
def world(tmp_path):
    with ExitStack() as stack:
        yield World(tmp_path, stack)


def is_quiet(stats):
    return stats["begun"] == stats["finished"] + stats["aborted"]


def all_delivered(status):
    return not any(sink["waiting"] for sink in status["metering"]["sinks"])


def trouble(world, proxy):
    """Events during the load, in this order."""
    redis, postgres = world.redis, world.postgres
    return [
        redis.stop,
        lambda: world.reload(proxy, 1),
        redis.start,
        postgres.stop,
        lambda: world.reload(proxy, 2),
        postgres.start,
        lambda: redis.stop(signal.SIGKILL),
        lambda: postgres.stop(signal.SIGQUIT),
        lambda: world.reload(proxy, 3),
        redis.start,
        lambda: world.reload(proxy, 4),
        postgres.start,
        lambda: world.reload(proxy, 6),
    ]


async def make_trouble(crowd, steps, n):
    """One step each time another part of the `n` requests has been asked."""
    each = n // (len(steps) + 1)
    for k, step in enumerate(steps, 1):
        await until(lambda due=k * each: len(crowd.begun) >= due)
        await asyncio.to_thread(step)


def demand_rows(rows, known):
    """`known`: what is true of each request, by id; the rest left before its name was read."""
    for name, row in rows.items():
        tokens = [row[column] or 0 for column in books.COLUMNS]
        truth = known.get(name)
        if truth is None:
            assert not any(tokens), row
            continue
        assert truth.allows(tokens), (row, truth)
        if truth.is_whole:
            assert (row["outcome"], row["exactness"]) == ("ok", "exact"), (row, truth)
            assert row["model"] == truth.ask.model
        elif truth.ask.streams and truth.ask.kind in ("chat", "text") and any(tokens):
            # Usage comes with every event: exact, however the stream ended.
            assert row["exactness"] == "exact", (row, truth)


def demand_sums(found, known):
    """Totals of all accounts, where every caller that was not to leave early saw the end."""
    assert [t for t in known.values() if t.is_whole and not t.told()] == []
    assert [t for t in known.values() if t.ask.is_whole and not t.is_whole] == []
    low, high = bounds(known.values())
    sums = books.by_model(found)
    assert {model: sums[model] for model in WHOLE} == {model: low[model] for model in WHOLE}
    for model in TORN:
        for least, value, most in zip(low[model], sums[model], high[model], strict=True):
            assert least <= value <= most, (model, low[model], sums[model], high[model])
    counts = Counter(truth.ask.model for truth in known.values())
    for model in WHOLE:
        assert {k: v[0] for k, v in found.items() if k[0] == model} == {
            (model, "exact"): counts[model]
        }
    assert books.exchanges(found) == len(known)


async def ask_until_sigterm(world, proxy):
    """Callers whose answers are on their way when SIGTERM comes."""
    last = Crowd(proxy.port, long_streams(CALLERS, 300), CALLERS)
    before = sum(sim.stats()["begun"] for sim in world.sims)
    asking = asyncio.ensure_future(last.run())
    await until(lambda: sum(s.stats()["begun"] for s in world.sims) == before + CALLERS)
    proxy.terminate()
    await asking
    assert await asyncio.to_thread(proxy.stop) == 0
    return last.answers


@pytest.mark.timeout(600)
@pytest.mark.parametrize("ring", [8, 1 << 16])
async def test_what_was_sent_is_in_every_book(world, ring):
    """With the large ring each request has a row of its own, and is compared by itself."""
    world.ring = ring
    loop = asyncio.get_running_loop()
    with ProxyProcess(world.config()) as proxy:
        crowd = Crowd(proxy.port, draw(REQUESTS, seed=1), CALLERS)
        began = loop.time()
        await asyncio.gather(crowd.run(), make_trouble(crowd, trouble(world, proxy), REQUESTS))
        print("seconds", loop.time() - began)
        await asyncio.to_thread(proxy.until_idle)
        await asyncio.to_thread(wait_until, lambda: world.written() >= REQUESTS)
        status = await asyncio.to_thread(proxy.until, all_delivered, 60)
        found = world.demand_same_books()
        assert status["counters"]["exchanges"] == len(crowd.begun) == books.exchanges(found)
        assert books.by_model(found) == books.in_counters(proxy) == books.in_prometheus(proxy)
        assert not status["metering"]["flusher"]["failures"]["ledger"]
        assert all(s["failures"] for s in status["metering"]["sinks"] if s["name"] != "jsonl")
        assert world.overflowed() == status["ring"]["overflow"]
        assert bool(world.overflowed()) == (ring == 8)
        answers = crowd.answers + await ask_until_sigterm(world, proxy)
    found = world.demand_same_books()
    known = truths(answers, world.accounts())
    assert len(known) == REQUESTS + CALLERS
    demand_sums(found, known)
    rows = world.rows()
    demand_rows(rows, known)
    assert world.overflowed() + len(rows) == len(known)
    print("books", found)
    print("rows", [len(rows), world.newest(), world.overflowed()])


@pytest.mark.timeout(600)
async def test_kill_9_loses_only_what_was_not_flushed_and_doubles_nothing(world):
    proxy = ProxyProcess(world.config())
    proxy.start()
    crowd = Crowd(proxy.port, draw(1_000_000, seed=2), CALLERS)
    asking = asyncio.ensure_future(crowd.run())
    await until(lambda: len(crowd.answers) >= KILLED_AFTER)
    await asyncio.to_thread(world.redis.stop)
    # An answer's end may overtake its record by a hair: of the three transactions the first may
    # have begun before, the second certainly takes it.
    ended = list(crowd.answers)
    await world.transactions(3)
    proxy.process.kill()
    proxy.process.wait()
    answered = len(crowd.answers)
    await asking
    proxy.folder.cleanup()
    await world.quiet()

    kept = books.in_detail(world.ledger)
    assert books.in_hours(world.ledger) == kept
    assert query(world.ledger, "PRAGMA integrity_check") == [("ok",)]
    known = truths(crowd.answers, world.accounts())
    sure, _ = bounds(known[answer.ask.id] for answer in ended)
    _, most = bounds(known.values())
    assert len(ended) <= books.exchanges(kept) <= len(crowd.begun)
    sums = books.by_model(kept)
    for model in (*WHOLE, *TORN):
        each = zip(sure[model], sums[model], most[model], strict=True)
        assert all(least <= value <= top for least, value, top in each), model
    demand_rows(world.rows(), known)

    await asyncio.to_thread(world.redis.start)
    with ProxyProcess(world.config()) as again:
        crowd = Crowd(again.port, draw(AFTERWARDS, seed=3), CALLERS)
        await crowd.run()
        await asyncio.to_thread(again.until_idle)
    found = world.demand_same_books()
    later = {a.ask.id: a for a in crowd.answers}
    everything = known | truths(crowd.answers, world.accounts())
    demand_rows(world.rows(), everything)
    demand_sums(books.minus(found, kept), {name: everything[name] for name in later})
    print("kept", [len(ended), books.exchanges(kept), answered, books.exchanges(found)])
