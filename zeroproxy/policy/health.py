"""Whether endpoints are well: they are asked, and taken out of rotation and put back.

Law 1. One task per upstream asks; those that are due are asked together, each over a connection of
       its own. An endpoint in doubt is asked twice as often, so that it is out within three
       intervals; one whose breaker has opened is asked at once.
Law 2. Health writes the word `up` and no other; an operator's drain is not its business.
Law 3. Being out of rotation cuts nothing: what runs there goes on.
Law 4. An engine under load may miss a probe. As long as bytes of its answers come, a probe that
       times out is no bad answer.
Law 5. A cold endpoint (warmup.py) is out as long as a warm one of its upstream takes requests.
       Where there is none it is used: late is better than never.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from zeroproxy.config import Health as Settings
from zeroproxy.config import Upstream
from zeroproxy.policy.addresses import Address
from zeroproxy.policy.load import read_load
from zeroproxy.policy.probe import Lack, generate_one, get_status, why
from zeroproxy.policy.wedge import Silence, read_counters
from zeroproxy.presets import PRESETS, Preset

TRIAL_EVERY = 5  # rounds between two requests to a wedged endpoint
TRIAL_TIMEOUT = 5.0  # seconds
LATE = "no answer within {:g} s"
COLD = "it is being warmed up"
#: It is there and wants to know who asks.
WANTS_A_KEY = (401, 403)
#: What a server without that page says. It is well; only a preset knows better.
NO_SUCH_PAGE = (404, 405, 501)

Vitals = Mapping[str, Any]


class Member(Protocol):
    """An endpoint in force; `index` is the engine's."""

    @property
    def index(self) -> int: ...

    @property
    def address(self) -> Address: ...


class Engine(Protocol):
    def set_endpoint(
        self,
        index: int,
        *,
        up: bool | None = None,
        load: tuple[float, float, float, float] | None = None,
    ) -> None: ...

    def vitals(self) -> list[dict[str, Any]]: ...


@dataclass
class Standing:
    """What is known of one endpoint."""

    member: Member
    is_up: bool = True
    was_well: bool = True
    is_sick: bool = False
    reason: str = ""  # why it is out, or was last in doubt
    bad: int = 0  # answers in a row
    well: int = 0
    asked: int = 0
    changes: int = 0
    due: float = 0.0
    last_well: float = 0.0
    out_after: float = 0.0  # seconds from the last good answer until it was taken out
    silence: Silence = field(default_factory=Silence)
    trial: asyncio.Task[None] | None = None

    @property
    def is_well(self) -> bool:
        return not self.is_sick and not self.silence.is_wedged

    def snapshot(self) -> dict[str, Any]:
        return {
            "up": self.is_up, "reason": self.reason, "wedged": self.silence.is_wedged,
            "bad_in_a_row": self.bad, "well_in_a_row": self.well, "asked": self.asked,
            "changes": self.changes, "out_after_s": round(self.out_after, 3),
        }  # fmt: skip


async def ask(address: Address, settings: Settings, is_guess: bool) -> str:
    """ "" for a good answer, else what was wrong. `is_guess`: nobody knows that the path exists."""
    try:
        async with asyncio.timeout(settings.timeout):
            status = await get_status(address, settings.path)
    except TimeoutError:
        return LATE.format(settings.timeout)
    except OSError as error:
        return why(error)
    if status == settings.expect or status in WANTS_A_KEY:
        return ""
    if is_guess and status in NO_SUCH_PAGE:
        return ""
    return f"GET {settings.path} says {status}" if status else "the answer is no HTTP"


class Rounds:
    """The endpoints of one upstream, and the task that asks them."""

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
        """These are in force, and are to be asked like this."""
        self._settings, self._preset = upstream.health, upstream.preset
        self._api_key = upstream.api_key
        self._wants_load = upstream.balance == "fastest"
        known = self.standings
        self.standings = {m.index: known.get(m.index) or Standing(m) for m in members}
        for index in set(known) - set(self.standings):
            self._end_trial(known[index])
        for standing in self.standings.values():
            standing.due = 0.0
            if not self._settings.path:
                standing.is_sick = False
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
        tasks = [s.trial for s in self.standings.values()] + [self._task]
        for task in tasks:
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._task = None

    # ------------------------------------------------------------ rounds

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            now = time.monotonic()
            due = [s for s in self.standings.values() if s.due <= now]
            if due and self._settings.path:
                try:
                    await self._round(due)
                except Exception as error:  # nobody else would ask from then on
                    self._say(f"zeroproxy: health: {type(error).__name__}: {error}")
            await self._rest()

    async def _rest(self) -> None:
        wait: float | None = None
        if self._settings.path and self.standings:
            wait = min(s.due for s in self.standings.values()) - time.monotonic()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), None if wait is None else max(wait, 0))

    async def _round(self, due: Sequence[Standing]) -> None:
        settings = self._settings
        began = time.monotonic()
        for standing in due:
            standing.due = began + self._pause()
        guess = not self._preset
        answers, _ = await asyncio.gather(
            asyncio.gather(*(ask(s.member.address, settings, guess) for s in due)),
            asyncio.gather(*(self._read_load(s) for s in due)),
        )
        vitals = {v["index"]: v for v in self._engine.vitals()}
        for standing, wrong in zip(due, answers, strict=True):
            seen = vitals.get(standing.member.index)
            is_gone = seen is None or self.standings.get(standing.member.index) is not standing
            if is_gone or seen is None or self._lack.is_it(wrong):
                continue  # removed meanwhile, or no evidence
            if wrong == LATE.format(settings.timeout) and seen["heard_s"] > began:
                wrong = ""
            self._note(standing, wrong, began)
            if not wrong and settings.wedge_after:
                await self._listen(standing, seen)

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

    def _note(self, s: Standing, wrong: str, began: float) -> None:
        now = time.monotonic()
        s.asked += 1
        if wrong:
            s.bad, s.well = s.bad + 1, 0
            if s.bad >= self._settings.unhealthy_after:
                if not s.is_sick and s.last_well:
                    s.out_after = now - s.last_well
                s.is_sick = True
        else:
            s.bad, s.well = 0, s.well + 1
            s.last_well = now
            if s.well >= self._settings.healthy_after:
                s.is_sick = False
        if (s.bad and not s.is_sick) or (s.well and s.is_sick):
            s.due = min(s.due, began + self._settings.interval / 2)
        self._settle(s, wrong)

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
            for v in self._engine.vitals()
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

    async def _listen(self, s: Standing, vitals: Vitals) -> None:
        """It has answered well: does it work as well?"""
        settings, silence = self._settings, s.silence
        if silence.is_wedged:
            await self._look_again(s, vitals)
        elif vitals["quiet_s"] < settings.wedge_after:
            silence.broken()
        else:
            counters = await read_counters(s.member.address, self._known(s), settings.timeout)
            if silence.is_proof(vitals, counters):
                silence.found(time.monotonic())
        self._settle(s, "")

    async def _look_again(self, s: Standing, vitals: Vitals) -> None:
        silence = s.silence
        silence.rounds += 1
        counters = await read_counters(s.member.address, self._known(s), self._settings.timeout)
        if vitals["heard_s"] > silence.since or silence.has_moved(counters):
            silence.broken()
            self._end_trial(s)
        elif silence.rounds % TRIAL_EVERY == 0 and (s.trial is None or s.trial.done()):
            s.trial = asyncio.ensure_future(self._try(s, idle=not vitals["inflight"]))

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
        self._rounds: list[Rounds] = []
        self._moves: dict[int, dict[str, int]] = {}

    def watch(self, groups: Sequence[tuple[Upstream, Sequence[Member]]]) -> None:
        while len(self._rounds) < len(groups):
            self._rounds.append(Rounds(self))
        for rounds, (upstream, members) in zip(self._rounds, groups, strict=True):
            rounds.watch(upstream, members)

    def look(self) -> None:
        """A breaker has moved: say so, and ask those that have opened."""
        for vitals in self.engine.vitals():
            index, breaker = vitals["index"], vitals["breaker"]
            before = self._moves.get(index, dict.fromkeys(breaker["to"], 0))
            self._moves[index] = breaker["to"]
            if breaker["to"] == before:
                continue
            self._tell(index, breaker, before, vitals["due_s"])
            if breaker["to"]["open"] != before["open"]:
                for rounds in self._rounds:
                    rounds.hurry(index)
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
        found = [r.standings[index] for r in self._rounds if index in r.standings]
        return found[0].member.address.url if found else f"endpoint {index}"

    def snapshot(self, index: int) -> dict[str, Any] | None:
        """What is known of one endpoint; None: it is not watched."""
        for rounds in self._rounds:
            if index in rounds.standings:
                return rounds.standings[index].snapshot()
        return None

    def reasons(self) -> list[str]:
        """Why no endpoint is in rotation; empty: one is."""
        standings = [s for rounds in self._rounds for s in rounds.standings.values()]
        if any(s.is_up for s in standings):
            return []
        return [f"{s.member.address.url}: {s.reason}" for s in standings]

    async def stop(self) -> None:
        for rounds in self._rounds:
            await rounds.stop()
