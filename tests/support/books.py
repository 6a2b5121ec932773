"""The places where usage is kept, each read by itself, in one form to compare.

Books: by (model, exactness), [exchanges, prompt, completion, cached, reasoning].
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.postgres_server import PostgresServer
from tests.support.proxy_process import ProxyProcess
from tests.support.records import query
from tests.support.redis_server import RedisServer

KINDS = ("prompt", "completion", "cached", "reasoning")
COLUMNS = tuple(f"{kind}_tokens" for kind in KINDS)
Books = dict[tuple[str, str], list[int]]
ByModel = dict[str, list[int]]  # no exchanges: KINDS

SUMS = "sum({count}), " + ", ".join(f"coalesce(sum({c}), 0)" for c in COLUMNS)
ASKED = "SELECT model, exactness, {sums} FROM {table} GROUP BY model, exactness"


def from_sums(rows: Iterable[tuple[Any, ...]]) -> Books:
    return {(model, exactness): list(map(int, sums)) for model, exactness, *sums in rows}


def from_rows(rows: Iterable[dict[str, Any]]) -> Books:
    books: Books = {}
    for row in rows:
        sums = books.setdefault((row["model"], row["exactness"]), [0] * 5)
        for k, name in enumerate(("count", *COLUMNS)):
            sums[k] += int(row.get(name) or 0)
    return books


def in_detail(ledger: Path) -> Books:
    asked = ASKED.format(sums=SUMS.format(count="count"), table="exchange")
    return from_sums(query(ledger, asked))


def in_hours(ledger: Path) -> Books:
    asked = ASKED.format(sums=SUMS.format(count="requests"), table="hourly")
    return from_sums(query(ledger, asked))


def in_postgres(postgres: PostgresServer) -> Books:
    asked = ASKED.format(sums=SUMS.format(count="count"), table="zeroproxy_usage")
    return from_sums(postgres.query(asked))


def in_redis(redis: RedisServer) -> Books:
    # A Redis entry leaves out what is unknown and what is empty.
    return from_rows({"model": "", **entry} for entry in redis.entries())


def in_lines(path: Path) -> Books:
    return from_rows(map(json.loads, path.read_bytes().splitlines()))


def by_model(books: Books) -> ByModel:
    """Only models that have tokens, as the counters do."""
    found: ByModel = {}
    for (model, _), (_, *tokens) in books.items():
        sums = found.setdefault(model, [0] * 4)
        sums[:] = [a + b for a, b in zip(sums, tokens, strict=True)]
    return {model: sums for model, sums in found.items() if any(sums)}


def in_counters(proxy: ProxyProcess) -> ByModel:
    """The counters in C, as /status shows them."""
    rows = {row["model"]: [row[kind] for kind in KINDS] for row in proxy.status()["tokens"]}
    return {model: sums for model, sums in rows.items() if any(sums)}


def in_prometheus(proxy: ProxyProcess) -> ByModel:
    found: ByModel = {}
    for family in text_string_to_metric_families(proxy.fetch("/metrics").decode()):
        for sample in family.samples:
            if sample.name == "zeroproxy_tokens_total":
                sums = found.setdefault(sample.labels["model"], [0] * 4)
                sums[KINDS.index(sample.labels["kind"])] += int(sample.value)
    return {model: sums for model, sums in found.items() if any(sums)}


def exchanges(books: Books) -> int:
    return sum(count for count, *_ in books.values())


def minus(books: Books, before: Books) -> Books:
    """The counts added since."""
    found = {
        key: [a - b for a, b in zip(sums, before.get(key, [0] * 5), strict=True)]
        for key, sums in books.items()
    }
    return {key: sums for key, sums in found.items() if any(sums)}
