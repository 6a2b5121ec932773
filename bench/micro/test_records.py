"""Traces of an exchange: a slot of the ring, a dict, a row, a line."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.probes.core import RingProbe

from tests.support.ledgers import record
from tests.support.script import get, ok, play
from zeroproxy.metering.access_log_file import to_line
from zeroproxy.metering.ledger import Ledger
from zeroproxy.metering.rows import DEFAULTS, shape

SLOTS = 1024
FEW = 64
T0 = 1_795_255_200 * 10**9


def drain(ring: RingProbe) -> None:
    while ring.pop() is not None:
        pass


def batch(n: int) -> list[dict[str, Any]]:
    return [DEFAULTS | record(T0, tokens=(512, 128, 0, 0), ttft_ns=10**7) for _ in range(n)]


def test_pushes(cost: Callable[..., None]) -> None:
    """record pushed into the ring"""
    ring = RingProbe(SLOTS)
    cost("zeroproxy", lambda: ring.push_many(0, SLOTS // 2), SLOTS // 2, lambda: drain(ring))


def test_pops(cost: Callable[..., None]) -> None:
    """record popped, called from Python"""
    ring = RingProbe(SLOTS)
    n = SLOTS // 2
    cost("zeroproxy", lambda: drain(ring), n, lambda: ring.push_many(0, n))


def test_dicts(cost: Callable[..., None]) -> None:
    """record made a dict"""
    with play() as script:
        downstream = script.downstream()
        upstream: list[Any] = []

        def exchange() -> None:
            downstream.send(get(b"/v1/models"))
            if not upstream:
                upstream.append(script.upstream())
            upstream[0].receive()
            upstream[0].send(ok(b"{}"))
            downstream.receive()

        def fill() -> None:
            for _ in range(FEW):
                exchange()

        cost("zeroproxy", lambda: script.engine.records(FEW), FEW, fill)


def test_rows(cost: Callable[..., None]) -> None:
    """record made a row, batches of 64"""
    records = batch(FEW)
    cost("zeroproxy", lambda: shape(records), FEW)


def test_ledger(cost: Callable[..., None], tmp_path: Path) -> None:
    """record written to the ledger, batches of 64"""
    ledger = Ledger(tmp_path / "usage.sqlite")
    batches: list[Any] = []
    try:
        cost(
            "zeroproxy",
            lambda: ledger.write(batches.pop()),
            FEW,
            lambda: batches.append(batch(FEW)),
        )
    finally:
        ledger.close()


@pytest.mark.parametrize("who", ["zeroproxy", "orjson alone"])
def test_lines(cost: Callable[..., None], who: str) -> None:
    """record made a line of the access log"""
    records, out = batch(FEW), io.BytesIO()
    line = to_line if who == "zeroproxy" else orjson.dumps
    cost(who, lambda: out.writelines(map(line, records)), FEW)
