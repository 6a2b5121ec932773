"""Whether endpoints are well: they are asked, and taken out of rotation and put back.

Law 1. One task per upstream knows who is due; each probe is a task of its own, over a connection of
       its own, and none waits for another's. An endpoint in doubt is asked twice as often, so that
       it is out within three intervals; one whose breaker has opened is asked at once.
Law 2. Health writes the words `up` and `probe_ok` and no other; an operator's drain is not its
       business.
Law 3. Being out of rotation cuts nothing: what runs there goes on, as long as there is somebody to
       go on. Where no probe is answered any more and no byte has come for `wedge_after`, there is
       not: what is owed there is ended, and the operator told how much that was.
Law 4. An engine under load may miss a probe. As long as bytes of its answers come, a probe that
       times out is no bad answer.
Law 5. A cold endpoint (warmup.py) is out as long as a warm one of its upstream takes requests.
       Where there is none it is used: late is better than never.
Tests: tests/unit/test_health.py, tests/unit/test_gone.py, tests/faults/test_health.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any, Protocol

from zeroproxy._fast.engine.result_types import HealthSample
from zeroproxy._fast.engine.settings_types import ReportedLoad
from zeroproxy.config.presets import PRESETS, Preset
from zeroproxy.config.schema import Health as Settings
from zeroproxy.config.schema import Upstream
from zeroproxy.policy.endpoint_health import LATE, Answer, Member, Standing, ask
from zeroproxy.policy.http_client import Lack, generate_one
from zeroproxy.policy.reported_load import read_load
from zeroproxy.policy.wedge import read_counters

TRIAL_EVERY = 5  # rounds between two requests to a wedged endpoint
TRIAL_TIMEOUT = 5.0  # seconds
COLD = "it is being warmed up"


class Engine(Protocol):
    def set_endpoint(
        self,
        index: int,
        *,
        up: bool | None = None,
        load: ReportedLoad | None = None,
        probe_ok: bool | None = None,
    ) -> None: ...

    def health_sample(self, *, only: int | None = None) -> list[HealthSample]: ...

    def end_silent(self, index: int, *, seconds: float) -> int: ...


class Rounds:
    """The endpoints of one upstream, and the task that knows who is due."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._engine, self._say, self._kind_of = health.engine, health.say, health.kind_of
        self._settings = Settings()
        self._preset = self._api_key = ""
        self._wants_load = False
        self._lack = Lack(self._say)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.standings: dict[int, Standing] = {}

    def watch(self, upstream: Upstream, members: Iterable[Member]) -> None:
        """These are in force, and are to be asked like this. Those known already keep their turn,
        unless the question has changed: a name that moved is no reason to ask hundreds at once."""
        is_new = upstream.health != self._settings
        self._settings, self._preset = upstream.health, upstream.preset
        self._api_key = upstream.api_key
        self._wants_load = upstream.balance == "fastest"
        known = self.standings
        self.standings = {m.index: known.get(m.index) or Standing(m) for m in members}
        for index in set(known) - set(self.standings):
            known[index].end()
        for standing in self.standings.values():
            if is_new:
                standing.due = 0.0
            if not self._settings.path:
                standing.is_sick = False
                self._vouch(standing, False)
            if not self._settings.path or not self._settings.wedge_after:
                standing.silence.broken()
            self._settle(standing, standing.reason if standing.is_sick else "")
        if self._task is None and self._settings.path:
            self._task = asyncio.ensure_future(self._run())
        self._wake.set()

    def hurry(self, index: int) -> None:
        """Ask this one now."""
        if index in self.standings:
            self.standings[index].due = 0.0
            self._wake.set()

    async def stop(self) -> None:
        tasks = [task for s in self.standings.values() for task in s.end()]
        if self._task is not None:
            self._task.cancel()
            tasks.append(self._task)
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._task = None

    # ------------------------------------------------------------ rounds

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            if self._settings.path:
                now = time.monotonic()
                for standing in self.standings.values():
                    if standing.due <= now and not standing.is_asked:
                        standing.due = now + self._pause()
                        standing.look = asyncio.ensure_future(self._look(standing))
                        # It may be due sooner then.
                        standing.look.add_done_callback(lambda _: self._wake.set())
            await self._rest()

    async def _rest(self) -> None:
        wait: float | None = None
        due = [s.due for s in self.standings.values() if not s.is_asked]
        if self._settings.path and due:
            wait = max(min(due) - time.monotonic(), 0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._wake.wait()

    async def _look(self, s: Standing) -> None:
        """One probe of one endpoint, and what follows from its answer."""
        began = time.monotonic()
        try:
            answer, _ = await asyncio.gather(
                ask(s.member.address, self._settings, not self._preset), self._read_load(s)
            )
            if not self._lack.is_it(answer.wrong):
                await self._judge(s, answer, began)
        except Exception as error:  # nobody else would ask from then on
            self._say(f"health: {type(error).__name__}: {error}")

    async def _judge(self, s: Standing, answer: Answer, began: float) -> None:
        index, settings = s.member.index, self._settings
        seen = next(iter(self._engine.health_sample(only=index)), None)
        if seen is None or self.standings.get(index) is not s or not settings.path:
            return  # removed meanwhile, or switched off
        if answer.wrong == LATE.format(settings.timeout) and seen["heard_s"] > began:
            answer = Answer()
        s.note(answer, settings, began, time.monotonic())
        self._vouch(s, not answer.wrong)
        self._settle(s, answer.wrong)
        if not settings.wedge_after:
            return
        if not answer.wrong:
            await self._listen(s, seen)
        elif answer.is_none and s.is_sick and seen["quiet_s"] >= settings.wedge_after:
            self._end_silent(s)

    def _end_silent(self, s: Standing) -> None:
        """It is gone: what it owes will not come."""
        after = self._settings.wedge_after
        n = self._engine.end_silent(s.member.index, seconds=after)
        s.ended += n
        if n:
            self._say(f"{s.member.address.url}: {n} exchanges ended: {s.reason}, "
                      f"and no byte for {after:g} s")  # fmt: skip

    def _vouch(self, s: Standing, probe_ok: bool) -> None:
        """Let the engine know whether a 5xx is to be held against it (breaker.pyx, law 4)."""
        if probe_ok != s.probe_ok:
            s.probe_ok = probe_ok
            self._engine.set_endpoint(s.member.index, probe_ok=probe_ok)

    async def _read_load(self, s: Standing) -> None:
        """Let the engine know what the server says of its load."""
        settings, index = self._settings, s.member.index
        if not self._wants_load:
            return
        load = await read_load(
            s.member.address, self._known(s), settings.timeout, settings.interval
        )
        if load is not None and self.standings.get(index) is s:
            self._engine.set_endpoint(index, load=load)

    def _pause(self) -> float:
        spread = self._settings.jitter
        return self._settings.interval * random.uniform(1 - spread, 1 + spread)

    def _settle(self, s: Standing, wrong: str) -> None:
        """Let the engine know, and the operator once, if that changes anything."""
        if s.is_well or wrong:
            s.reason = wrong
        elif s.silence.is_wedged:
            s.reason = "wedged: it answers its probe, and no exchange makes progress"
        was_well, s.was_well = s.was_well, s.is_well
        if s.is_well and not was_well:
            self._health.came_back(s.member.index)
            self._put(s)
        # The cold ones come in before the last warm one goes, and go when it is there.
        if s.is_well != was_well:
            self.look_at_cold()
        self._put(s)

    def look_at_cold(self) -> None:
        """What decides about the cold ones has changed: they, or the warm ones."""
        for s in self.standings.values():
            if s.is_well:
                self._put(s)

    def _has_warm(self) -> bool:
        """Whether a warm endpoint takes requests."""
        closed = {
            v["index"]
            for v in self._engine.health_sample()
            if v["draining"] or v["breaker"]["state"] == "open"
        }
        return any(
            s.is_well and s.member.index not in closed and not self._health.is_cold(s.member.index)
            for s in self.standings.values()
        )

    def _put(self, s: Standing) -> None:
        """In or out."""
        is_kept = s.is_well and self._health.is_cold(s.member.index) and self._has_warm()
        if is_kept:
            s.reason = COLD
        elif s.reason == COLD:
            s.reason = ""
        is_up = s.is_well and not is_kept
        if is_up == s.is_up:
            return
        s.is_up = is_up
        s.changes += 1
        self._engine.set_endpoint(s.member.index, up=is_up)
        url = s.member.address.url
        self._say(f"{url} is back in rotation" if is_up else f"{url} is out: {s.reason}")

    # ------------------------------------------------------------ silence

    def _known(self, s: Standing) -> Preset:
        """Its preset, or what its list of models says that it is."""
        return PRESETS.get(self._preset or self._kind_of(s.member.address.url), Preset())

    async def _listen(self, s: Standing, sample: HealthSample) -> None:
        """It has answered well: does it work as well?"""
        settings, silence = self._settings, s.silence
        if silence.is_wedged:
            await self._look_again(s, sample)
        elif sample["quiet_s"] < settings.wedge_after:
            silence.broken()
        else:
            counters = await read_counters(s.member.address, self._known(s), settings.timeout)
            if silence.is_proof(sample, counters):
                silence.found(time.monotonic())
        self._settle(s, "")

    async def _look_again(self, s: Standing, sample: HealthSample) -> None:
        silence = s.silence
        silence.rounds += 1
        counters = await read_counters(s.member.address, self._known(s), self._settings.timeout)
        if sample["heard_s"] > silence.since or silence.has_moved(counters):
            silence.broken()
            self._end_trial(s)
        elif silence.rounds % TRIAL_EVERY == 0 and (s.trial is None or s.trial.done()):
            s.trial = asyncio.ensure_future(self._try(s, idle=not sample["inflight"]))

    async def _try(self, s: Standing, *, idle: bool) -> None:
        """A request of our own. One that is refused says nothing, so an endpoint with nothing to do
        gets the benefit of the doubt."""
        status = await generate_one(s.member.address, TRIAL_TIMEOUT, self._api_key)
        if status == 200 or (idle and 400 <= status < 500):
            s.silence.broken()
            self._settle(s, "")

    def _end_trial(self, s: Standing) -> None:
        if s.trial is not None:
            s.trial.cancel()
            s.trial = None


class Health:
    """All upstreams. `say` takes one line for the operator; `came_back` is called when an endpoint
    is well again. Use it on the loop."""

    def __init__(
        self, engine: Engine, say: Callable[[str], None], kind_of: Callable[[str], str]
    ) -> None:
        self.engine, self.say, self.kind_of = engine, say, kind_of
        self.came_back: Callable[[int], None] = lambda index: None
        self.is_cold: Callable[[int], bool] = lambda index: False
        self.drained: Callable[[], Set[int]] = frozenset
        self._rounds: list[Rounds] = []
        self._by_index: dict[int, Rounds] = {}
        self._moves: dict[int, dict[str, int]] = {}

    def watch(self, groups: Sequence[tuple[Upstream, Sequence[Member]]]) -> None:
        while len(self._rounds) < len(groups):
            self._rounds.append(Rounds(self))
        for rounds, (upstream, members) in zip(self._rounds, groups, strict=True):
            rounds.watch(upstream, members)
        self._by_index = {i: rounds for rounds in self._rounds for i in rounds.standings}

    def look(self) -> None:
        """A breaker has moved: say so, and ask those that have opened."""
        for sample in self.engine.health_sample():
            index, breaker = sample["index"], sample["breaker"]
            before = self._moves.get(index, dict.fromkeys(breaker["to"], 0))
            self._moves[index] = breaker["to"]
            if breaker["to"] == before:
                continue
            self._tell(index, breaker, before, sample["due_s"])
            if breaker["to"]["open"] != before["open"] and index in self._by_index:
                self._by_index[index].hurry(index)
        self.look_at_cold()

    def look_at_cold(self) -> None:
        """One is no longer cold, or a warm one no longer takes requests."""
        for rounds in self._rounds:
            rounds.look_at_cold()

    def _tell(
        self, index: int, breaker: Mapping[str, Any], before: Mapping[str, int], due: float
    ) -> None:
        moves = ", ".join(
            f"{name} {n - before[name]}x" if n - before[name] > 1 else name
            for name, n in breaker["to"].items()
            if n != before[name]
        )
        later = f"; half open in {due:.1f} s" if breaker["state"] == "open" else ""
        self.say(f"{self._url(index)}: breaker {moves}, now {breaker['state']}{later}")

    def _url(self, index: int) -> str:
        rounds = self._by_index.get(index)
        return rounds.standings[index].member.address.url if rounds else f"endpoint {index}"

    def snapshot(self, index: int) -> dict[str, Any] | None:
        """What is known of one endpoint; None: it is not watched."""
        rounds = self._by_index.get(index)
        return rounds.standings[index].snapshot() if rounds else None

    def reasons(self) -> list[str]:
        """Why no endpoint is in rotation; empty: one is. A breaker alone keeps none out of it where
        there is no other (upstream/breaker.pyx, law 5)."""
        standings = [s for rounds in self._rounds for s in rounds.standings.values()]
        drained = self.drained()
        if any(s.is_up and s.member.index not in drained for s in standings):
            return []
        return [
            f"{s.member.address.url}: "
            + ("it is being drained" if s.member.index in drained else s.reason)
            for s in standings
        ]

    async def stop(self) -> None:
        for rounds in self._rounds:
            await rounds.stop()
