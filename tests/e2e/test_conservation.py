"""Token totals are never lost: what was sent, what was recorded, and every place it was carried to.

A real proxy whose ring holds 8 records, two simulators, a real Redis and a real PostgreSQL that
both go away twice, reloads, callers that leave, answers that fail, SIGTERM and kill -9.
"""

import asyncio
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
from tests.support.until import until

REQUESTS = int(os.environ.get("ZEROPROXY_CONSERVE", "20000"))
CALLERS = 48
SIM = {
    "tokens_per_second": 1000, "ttft": 0.001, "max_running": 1000, "min_length": 2,
    "max_length": 8, "reasoning_tokens": 2, "prefix_cache": True, "accounts": REQUESTS + 1000,
    "keep_alive": 600,
}  # fmt: skip


class World:
    """Everything that runs, and where it writes."""

    def __init__(self, folder, stack):
        self.folder = folder
        self.ledger = folder / "usage.sqlite"
        self.lines = folder / "usage.jsonl"
        self.sims = [stack.enter_context(SimProcess(*WHOLE, *TORN, **SIM)) for _ in range(2)]
        self.redis = stack.enter_context(RedisServer())
        self.postgres = stack.enter_context(PostgresServer())

    def config(self, k=0):
        """The k-th of configurations that differ in endpoints, weights and limits."""
        urls = [sim.url for sim in self.sims][: 1 if k % 3 == 2 else 2]
        weighed = [f'{{ url = "{url}", weight = {1 + (k + n) % 3} }}' for n, url in enumerate(urls)]
        upstream = upstream_toml().replace("[]", f"[{', '.join(weighed)}]")
        return (
            f"[limits]\nheader_count = {50 + k}\n{upstream}[metering]\n"
            f'ledger = "{self.ledger}"\nring = 8\ncontinuous_usage = "always"\nsinks = [\n'
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

    def rows(self):
        """The detail: exchanges that found room in the ring, by request id."""
        names = ("request_id", "outcome", "exactness", "model", *books.COLUMNS)
        found = query(self.ledger, f"SELECT {', '.join(names)} FROM exchange WHERE method != ''")
        return {row[0]: dict(zip(names, row, strict=True)) for row in found}

    def demand_same_books(self):
        """Every place says the same; returns it."""
        found = books.in_detail(self.ledger)
        assert books.in_hours(self.ledger) == found
        assert books.in_redis(self.redis) == found
        assert books.in_postgres(self.postgres) == found
        assert books.in_lines(self.lines) == found
        assert query(self.ledger, "PRAGMA integrity_check") == [("ok",)]
        return found


@pytest.fixture
def world(tmp_path):
    with ExitStack() as stack:
        yield World(tmp_path, stack)


def all_delivered(status):
    return not any(sink["waiting"] for sink in status["metering"]["sinks"])


def trouble(world, proxy):
    """What happens while the crowd asks, in this order."""
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


def demand_the_truth(world, known, found):
    """`known`: what is true of each request, by id; `found`: what all books say."""
    assert [t for t in known.values() if t.is_whole and not t.told()] == []
    assert [t for t in known.values() if t.ask.is_whole and not t.is_whole] == []
    rows = world.rows()
    for name, row in rows.items():
        truth = known.get(name)
        if truth is None:  # left before its name was known
            assert not any(row[column] for column in books.COLUMNS)
            continue
        assert truth.allows([row[column] or 0 for column in books.COLUMNS]), (row, truth)
        if truth.ask.is_whole:
            assert (row["outcome"], row["exactness"]) == ("ok", "exact"), (row, truth)
            assert row["model"] == truth.ask.model
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
    return rows


@pytest.mark.timeout(600)
async def test_what_was_sent_is_in_every_book(world, capsys):
    with ProxyProcess(world.config()) as proxy:
        crowd = Crowd(proxy.port, draw(REQUESTS, seed=1), CALLERS)
        began = asyncio.get_running_loop().time()
        await asyncio.gather(crowd.run(), make_trouble(crowd, trouble(world, proxy), REQUESTS))
        took = asyncio.get_running_loop().time() - began
        await asyncio.to_thread(proxy.until_idle)
        await until(lambda: world.written() >= REQUESTS)
        status = await asyncio.to_thread(proxy.until, all_delivered, 60)
        found = world.demand_same_books()
        assert status["counters"]["exchanges"] == len(crowd.begun) == books.exchanges(found)
        assert books.by_model(found) == books.in_counters(proxy) == books.in_prometheus(proxy)
        assert not status["metering"]["flusher"]["failures"]["ledger"]
        # The last ones are in flight when SIGTERM comes.
        last = Crowd(proxy.port, long_streams(CALLERS, 300), CALLERS)
        before = sum(sim.stats()["begun"] for sim in world.sims)
        asking = asyncio.ensure_future(last.run())
        await until(lambda: sum(s.stats()["begun"] for s in world.sims) == before + CALLERS)
        proxy.terminate()
        await asking
        assert await asyncio.to_thread(proxy.stop) == 0
    found = world.demand_same_books()
    known = truths(crowd.answers + last.answers, world.accounts())
    rows = demand_the_truth(world, known, found)
    assert books.exchanges(found) == len(known) == REQUESTS + CALLERS
    ((spilled, spill_rows),) = query(
        world.ledger, "SELECT total(count), count(*) FROM exchange WHERE outcome = 'overflow'"
    )
    assert spilled == status["ring"]["overflow"] + books.exchanges(found) - REQUESTS - sum(
        name.startswith("long-") for name in rows
    )
    assert spilled > 0
    with capsys.disabled():
        print(f"\n{REQUESTS} in {took:.1f} s; {len(rows)} rows of one, {spill_rows} for {spilled}")
        print(found)
