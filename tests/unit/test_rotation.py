"""Which endpoints are in rotation, by what health and warm-up report: policy/rotation.py."""

import asyncio
from typing import Any

from tests.support.endpoint_set import ActiveEndpoint
from zeroproxy.config.schema import Health as Settings
from zeroproxy.config.schema import Upstream, Warmup
from zeroproxy.policy.health import Health
from zeroproxy.policy.rotation import Rotation
from zeroproxy.policy.socket_addresses import Address
from zeroproxy.policy.warmup_requests import Warmups


class Engine:
    """Endpoints: what was written of them in order, and what keeps them from taking requests."""

    def __init__(self, n: int) -> None:
        self.up = dict.fromkeys(range(n), True)
        self.written: list[tuple[int, bool]] = []
        self.draining: set[int] = set()
        self.open: set[int] = set()

    def set_endpoint(self, index: int, *, up: bool | None = None, **words: Any) -> None:
        assert up is not None
        self.up[index] = up
        self.written.append((index, up))

    def end_silent(self, index: int, seconds: float) -> int:
        raise AssertionError("nobody asks them")

    def health_sample(self, *, only: int | None = None) -> list[dict[str, Any]]:
        return [{"index": k, "draining": k in self.draining, "due_s": 1.0,
                 "breaker": {"state": "open" if k in self.open else "closed",
                             "to": {"open": int(k in self.open)}}} for k in self.up]  # fmt: skip


def at(k: int) -> ActiveEndpoint:
    url = f"http://127.0.0.1:{k + 1}"
    return ActiveEndpoint(k, Address(url, b"", b"", 2, ("127.0.0.1", k + 1)))


def group(*indices: int, **keys: Any) -> tuple[Upstream, list[ActiveEndpoint]]:
    upstream = Upstream(name="u", endpoints=("http://127.0.0.1:1",), **keys)
    return upstream, [at(k) for k in indices]


class Ward:
    """One upstream of two endpoints; those in `cold` are cold from the beginning."""

    def __init__(self, cold: set[int]) -> None:
        self.engine = Engine(2)
        self.rotation = Rotation(self.engine)
        self.back: list[int] = []
        self.rotation.on_recovery(self.back.append)
        self.rotation.watch([group(0, 1)])
        for k in cold:
            self.rotation.report_warmth(k, is_cold=True)
        self.rotation.reconsider()

    def falls(self, k: int) -> None:
        self.rotation.report_health(k, False, "it fell")

    def rises(self, k: int) -> None:
        self.rotation.report_health(k, True, "")

    def warms(self, k: int) -> None:
        self.rotation.report_warmth(k, is_cold=False)
        self.rotation.reconsider()


def test_a_cold_one_is_out_while_a_warm_one_is_there_and_comes_back_when_it_is_warm(logged):
    ward = Ward({1})
    assert ward.engine.up == {0: True, 1: False}
    assert ward.rotation.snapshot(1)["reason"] == "it is being warmed up"
    assert ward.rotation.reasons() == []
    ward.warms(1)
    assert ward.engine.up == {0: True, 1: True}
    assert ward.rotation.snapshot(1) == {"up": True, "reason": "", "changes": 2}
    assert logged == ["http://127.0.0.1:2 is out: it is being warmed up",
                    "http://127.0.0.1:2 is back in rotation"]  # fmt: skip


def test_where_all_are_cold_all_are_used_until_the_first_is_warm():
    ward = Ward({0, 1})
    assert ward.engine.written == []
    ward.warms(0)
    assert ward.engine.up == {0: True, 1: False}


def test_a_cold_one_enters_before_the_last_warm_one_leaves_and_leaves_after_it_is_back():
    ward = Ward({1})
    ward.falls(0)
    assert ward.engine.written == [(1, False), (1, True), (0, False)]
    assert ward.back == []
    ward.rises(0)
    assert ward.back == [0], "it is to be warmed again"
    assert ward.engine.written[3:] == [(0, True), (1, False)]


def test_one_that_is_well_again_is_cold_before_it_is_back():
    ward = Ward(set())
    ward.rotation.on_recovery(lambda k: ward.rotation.report_warmth(k, is_cold=True))
    ward.falls(0)
    ward.rises(0)
    assert ward.engine.up == {0: False, 1: True}
    ward.warms(0)
    assert ward.engine.up == {0: True, 1: True}


def test_a_warm_one_that_is_drained_or_whose_breaker_is_open_is_no_reason_to_wait():
    ward = Ward({1})
    for keeps_from_work in (ward.engine.draining, ward.engine.open):
        keeps_from_work.add(0)
        ward.rotation.reconsider()
        assert ward.engine.up == {0: True, 1: True}
        keeps_from_work.clear()
        ward.rotation.reconsider()
        assert ward.engine.up == {0: True, 1: False}


def test_a_doubt_takes_nobody_out_and_is_shown():
    ward = Ward(set())
    ward.rotation.report_health(0, True, "GET /health returned 500")
    assert ward.engine.written == []
    assert ward.rotation.snapshot(0)["reason"] == "GET /health returned 500"
    assert ward.back == [], "it was never out"


def test_another_upstream_has_its_own_warm_ones():
    engine = Engine(2)
    rotation = Rotation(engine)
    rotation.watch([group(0), group(1)])
    rotation.report_warmth(1, is_cold=True)
    rotation.reconsider()
    assert engine.written == [], "the only one of its upstream is used"


def test_reports_on_one_that_is_gone_are_dropped():
    ward = Ward(set())
    ward.rotation.watch([group(1)])
    ward.falls(0)
    ward.warms(0)
    assert ward.engine.written == []
    assert ward.rotation.reasons() == []


async def test_health_and_warm_up_report_to_one_rotation():
    """The new one is cold and out, the old one warm and in, until its breaker opens."""
    engine = Engine(2)
    rotation = Rotation(engine)
    warmups = Warmups(rotation)
    health = Health(engine, rotation, lambda _: "")

    def watch(*indices: int) -> None:
        groups = [group(*indices, health=Settings(path=""), warmup=warmup)]
        rotation.watch(groups)
        warmups.watch(groups)
        health.watch(groups)

    warmup = Warmup(path="")
    watch(0)
    warmup = Warmup(path="/v1/completions")
    watch(0, 1)
    assert engine.up == {0: True, 1: False}
    health.on_breaker_change()
    engine.open.add(0)
    health.on_breaker_change()
    assert engine.up == {0: True, 1: True}, "the warm one takes nothing"
    await asyncio.wait_for(warmups.stop(), 5)
    await health.stop()
