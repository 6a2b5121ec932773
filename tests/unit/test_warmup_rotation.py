"""Which cold endpoints are left out of rotation: policy/health.py, law 5."""

from typing import Any

from tests.support.members import Member
from zeroproxy.config.schema import Health as Settings
from zeroproxy.config.schema import Upstream
from zeroproxy.policy.addresses import resolve
from zeroproxy.policy.endpoint_health import Standing
from zeroproxy.policy.health import Health, Rounds


class Engine:
    """Two endpoints: what health wrote of them, and what keeps them from taking requests."""

    def __init__(self) -> None:
        self.up = {0: True, 1: True}
        self.draining: set[int] = set()
        self.open: set[int] = set()

    def set_endpoint(self, index: int, *, up: bool | None = None, **words: Any) -> None:
        assert up is not None
        self.up[index] = up

    def end_silent(self, index: int, *, seconds: float) -> int:
        raise AssertionError("nobody asks them")

    def health_sample(self, *, only: int | None = None) -> list[Any]:
        return [{"index": k, "draining": k in self.draining, "due_s": 1.0,
                 "breaker": {"state": "open" if k in self.open else "closed",
                             "to": {"open": int(k in self.open)}}} for k in self.up]  # fmt: skip


class Ward:
    """Two endpoints nobody probes; `cold` is what the warm-up says."""

    def __init__(self, cold: set[int]) -> None:
        self.cold, self.back = cold, []
        self.engine = Engine()
        self.lines: list[str] = []
        self.health = Health(self.engine, self.lines.append, lambda _: "")
        self.health.is_cold = self.cold.__contains__
        self.health.came_back = self.back.append

    async def watch(self) -> "Ward":
        members = [Member(k, await resolve(f"http://127.0.0.1:{k + 1}")) for k in (0, 1)]
        upstream = Upstream(name="u", endpoints=("http://127.0.0.1:1",), health=Settings(path=""))
        self.health.watch([(upstream, members)])
        return self

    def rounds(self) -> Rounds:
        return self.health._rounds[0]

    def falls(self, k: int, *, ill: bool = True) -> None:
        standing: Standing = self.rounds().standings[k]
        standing.is_sick = ill
        self.rounds()._settle(standing, "it fell" if ill else "")

    def warms(self, k: int) -> None:
        self.cold.discard(k)
        self.health.look_at_cold()


async def test_a_cold_one_is_out_while_a_warm_one_is_there_and_comes_back_when_it_is_warm():
    ward = await Ward({1}).watch()
    assert ward.engine.up == {0: True, 1: False}
    assert ward.health.snapshot(1)["reason"] == "it is being warmed up"
    assert ward.health.reasons() == []
    ward.warms(1)
    assert ward.engine.up == {0: True, 1: True}
    assert ward.health.snapshot(1)["reason"] == ""
    assert ward.lines == ["http://127.0.0.1:2 is out: it is being warmed up",
                          "http://127.0.0.1:2 is back in rotation"]  # fmt: skip


async def test_where_all_are_cold_all_are_used_until_the_first_is_warm():
    ward = await Ward({0, 1}).watch()
    assert ward.engine.up == {0: True, 1: True}
    ward.warms(0)
    assert ward.engine.up == {0: True, 1: False}


async def test_a_cold_one_is_used_when_the_last_warm_one_falls():
    ward = await Ward({1}).watch()
    ward.falls(0)
    assert ward.engine.up == {0: False, 1: True}
    assert ward.back == []
    ward.falls(0, ill=False)
    assert ward.back == [0], "it is to be warmed again"
    assert ward.engine.up == {0: True, 1: False}


async def test_one_that_is_well_again_is_cold_before_it_is_back():
    ward = await Ward(set()).watch()
    ward.health.came_back = ward.cold.add
    ward.falls(0)
    ward.falls(0, ill=False)
    assert ward.engine.up == {0: False, 1: True}
    ward.warms(0)
    assert ward.engine.up == {0: True, 1: True}


async def test_a_warm_one_that_is_drained_or_whose_breaker_is_open_is_no_reason_to_wait():
    ward = await Ward({1}).watch()
    ward.engine.draining.add(0)
    ward.health.look_at_cold()
    assert ward.engine.up == {0: True, 1: True}
    ward.engine.draining.clear()
    ward.health.look_at_cold()
    assert ward.engine.up == {0: True, 1: False}
    ward.engine.open.add(0)
    ward.health.look()
    assert ward.engine.up == {0: True, 1: True}
