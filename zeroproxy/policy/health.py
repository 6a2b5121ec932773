"""Health of endpoints: each is probed, and the result is reported to rotation.py.

Law 1. One task per upstream knows which probe is due. Each probe is a task with a connection of its
       own, and none waits for another's. An endpoint in doubt is probed twice as often, and so is
       out within three intervals. One whose breaker has opened is probed at once.
Law 2. Of the engine's settings health writes `probe_ok`, `loading` and `load` and no other.
Law 3. An endpoint that is out may finish the exchanges it has, as long as it can. It cannot where
       no probe is answered any more and no byte has come for `wedge_after`: these exchanges are
       ended, and their number is logged.
Law 4. An engine under load may miss a probe. As long as bytes of its answers come, a probe that
       times out is no bad answer.
Tests: tests/unit/test_health.py, tests/unit/test_gone.py, tests/faults/test_health.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from zeroproxy._fast.engine.result_types import HealthSample
from zeroproxy._fast.engine.settings_types import ReportedLoad
from zeroproxy.config.presets import PRESETS, Preset
from zeroproxy.config.schema import Health as Settings
from zeroproxy.config.schema import Upstream
from zeroproxy.policy.endpoint_health import LATE, Answer, EndpointHealth, probe
from zeroproxy.policy.http_client import OwnLack, generate_one
from zeroproxy.policy.reported_load import read_load
from zeroproxy.policy.rotation import Rotation
from zeroproxy.policy.socket_addresses import Group, WatchedEndpoint
from zeroproxy.policy.wedge import read_counters
from zeroproxy.tasks import cancel

log = logging.getLogger(__name__)

TRIAL_EVERY = 5  # rounds between two requests to a wedged endpoint
TRIAL_TIMEOUT = 5.0  # seconds


class Engine(Protocol):
    def set_endpoint(
        self,
        index: int,
        *,
        load: ReportedLoad | None = None,
        probe_ok: bool | None = None,
        loading: bool | None = None,
    ) -> None: ...

    def health_sample(self, *, only: int | None = None) -> list[HealthSample]: ...

    def end_silent(self, index: int, *, seconds: float) -> int: ...


class UpstreamProber:
    """The endpoints of one upstream, and the task that knows which probe is due."""

    def __init__(self, health: Health) -> None:
        self._engine, self._kind_of = health.engine, health.kind_of
        self._rotation = health.rotation
        self._settings = Settings()
        self._preset = self._api_key = ""
        self._wants_load = False
        self._lack = OwnLack()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.endpoints: dict[int, EndpointHealth] = {}

    def watch(self, upstream: Upstream, endpoints: Iterable[WatchedEndpoint]) -> None:
        """Put these endpoints and their probes in force. Known ones keep their place in the order,
        unless the probe has changed: a name that moved is no reason to probe hundreds at once."""
        is_new = upstream.health != self._settings
        self._settings, self._preset = upstream.health, upstream.preset
        self._api_key = upstream.api_key
        self._wants_load = upstream.balance == "fastest"
        known = self.endpoints
        self.endpoints = {e.index: known.get(e.index) or EndpointHealth(e) for e in endpoints}
        for index in set(known) - set(self.endpoints):
            known[index].end()
        for s in self.endpoints.values():
            if is_new:
                s.due = 0.0
            if not self._settings.path:
                s.is_sick = False
                self._vouch_for_nothing(s)
            if not self._settings.path or not self._settings.wedge_after:
                s.hang.reset()
            self._settle(s, s.reason if s.is_sick else "")
        if self._task is None and self._settings.path:
            self._task = asyncio.ensure_future(self._run())
        self._wake.set()

    def probe_now(self, index: int) -> None:
        """Probe this one now."""
        if index in self.endpoints:
            self.endpoints[index].due = 0.0
            self._wake.set()

    async def stop(self) -> None:
        tasks = [task for s in self.endpoints.values() for task in s.end()]
        await cancel(self._task, *tasks)
        self._task = None

    # ------------------------------------------------------------ rounds

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            if self._settings.path:
                now = time.monotonic()
                for s in self.endpoints.values():
                    if s.due <= now and not s.is_probed:
                        s.due = now + self._pause()
                        s.probing = asyncio.ensure_future(self._probe(s))
                        # It may be due sooner then.
                        s.probing.add_done_callback(lambda _: self._wake.set())
            await self._wait()

    async def _wait(self) -> None:
        wait: float | None = None
        due = [s.due for s in self.endpoints.values() if not s.is_probed]
        if self._settings.path and due:
            wait = max(min(due) - time.monotonic(), 0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._wake.wait()

    async def _probe(self, s: EndpointHealth) -> None:
        """One probe of one endpoint, and its consequences."""
        began = time.monotonic()
        try:
            answer, _ = await asyncio.gather(
                probe(s.endpoint.address, self._settings, not self._preset), self._read_load(s)
            )
            if not self._lack.is_it(answer.wrong):
                await self._judge(s, answer, began)
        except Exception as error:  # else the endpoint would not be probed again
            log.error(f"health: {type(error).__name__}: {error}")

    async def _judge(self, s: EndpointHealth, answer: Answer, began: float) -> None:
        index, settings = s.endpoint.index, self._settings
        seen = next(iter(self._engine.health_sample(only=index)), None)
        if seen is None or self.endpoints.get(index) is not s or not settings.path:
            return  # removed meanwhile, or switched off
        if answer.wrong == LATE.format(settings.timeout) and seen["last_data_s"] > began:
            answer = Answer()
        s.note(answer, settings, began, time.monotonic())
        self._vouch(s, not answer.wrong)
        self._settle(s, answer.wrong)
        if not settings.wedge_after:
            return
        if not answer.wrong:
            await self._check_progress(s, seen)
        elif answer.is_none and s.is_sick and seen["quiet_s"] >= settings.wedge_after:
            self._end_silent(s)

    def _end_silent(self, s: EndpointHealth) -> None:
        """It is gone: the answers it owes will not come."""
        after = self._settings.wedge_after
        n = self._engine.end_silent(s.endpoint.index, seconds=after)
        s.ended += n
        if n:
            log.warning(f"{s.endpoint.address.url}: {n} exchanges ended: {s.reason}, "
                      f"and no byte for {after:g} s")  # fmt: skip

    def _vouch(self, s: EndpointHealth, probe_ok: bool) -> None:
        """Set in the engine whether a 5xx counts against it (breaker.pyx, law 4), and whether a 503
        means that it is loading (hold.pyx, law 2)."""
        if probe_ok != s.probe_ok:
            s.probe_ok = probe_ok
            self._engine.set_endpoint(s.endpoint.index, probe_ok=probe_ok, loading=not probe_ok)

    def _vouch_for_nothing(self, s: EndpointHealth) -> None:
        if s.probe_ok is not None:
            s.probe_ok = None
            self._engine.set_endpoint(s.endpoint.index, probe_ok=False, loading=False)

    async def _read_load(self, s: EndpointHealth) -> None:
        """Set in the engine the load that the server reports."""
        settings, index = self._settings, s.endpoint.index
        if not self._wants_load:
            return
        load = await read_load(
            s.endpoint.address, self._known(s), settings.timeout, settings.interval
        )
        if load is not None and self.endpoints.get(index) is s:
            self._engine.set_endpoint(index, load=load)

    def _pause(self) -> float:
        spread = self._settings.jitter
        return self._settings.interval * random.uniform(1 - spread, 1 + spread)

    def _settle(self, s: EndpointHealth, wrong: str) -> None:
        """Report what follows from an answer."""
        if s.is_well or wrong:
            s.reason = wrong
        elif s.hang.is_wedged:
            s.reason = "wedged: it answers its probe, and no exchange makes progress"
        self._rotation.report_health(s.endpoint.index, s.is_well, s.reason)

    # ------------------------------------------------------------ silence

    def _known(self, s: EndpointHealth) -> Preset:
        """Its preset, or that of the server it is by its list of models."""
        return PRESETS.get(self._preset or self._kind_of(s.endpoint.address.url), Preset())

    async def _check_progress(self, s: EndpointHealth, sample: HealthSample) -> None:
        """It answers its probes: check that its exchanges make progress too."""
        settings, hang = self._settings, s.hang
        if hang.is_wedged:
            await self._recheck(s, sample)
        elif sample["quiet_s"] < settings.wedge_after:
            hang.reset()
        else:
            counters = await read_counters(s.endpoint.address, self._known(s), settings.timeout)
            if hang.is_proof(sample, counters):
                hang.confirm(time.monotonic())
        self._settle(s, "")

    async def _recheck(self, s: EndpointHealth, sample: HealthSample) -> None:
        hang = s.hang
        hang.rounds += 1
        counters = await read_counters(s.endpoint.address, self._known(s), self._settings.timeout)
        if sample["last_data_s"] > hang.since or hang.has_moved(counters):
            hang.reset()
            self._end_trial(s)
        elif hang.rounds % TRIAL_EVERY == 0 and (s.trial is None or s.trial.done()):
            s.trial = asyncio.ensure_future(self._try(s, idle=not sample["inflight"]))

    async def _try(self, s: EndpointHealth, *, idle: bool) -> None:
        """A request of our own. A refusal proves nothing, so an endpoint with nothing to do gets
        the benefit of the doubt."""
        status = await generate_one(s.endpoint.address, TRIAL_TIMEOUT, self._api_key)
        if status == 200 or (idle and 400 <= status < 500):
            s.hang.reset()
            self._settle(s, "")

    def _end_trial(self, s: EndpointHealth) -> None:
        if s.trial is not None:
            s.trial.cancel()
            s.trial = None


class Health:
    """All upstreams. `kind_of` gives the kind of server at a URL, as far as it is known. Use it on
    the loop."""

    def __init__(self, engine: Engine, rotation: Rotation, kind_of: Callable[[str], str]) -> None:
        self.engine, self.rotation, self.kind_of = engine, rotation, kind_of
        self._probers: list[UpstreamProber] = []
        self._by_index: dict[int, UpstreamProber] = {}
        self._moves: dict[int, dict[str, int]] = {}

    def watch(self, groups: Sequence[Group]) -> None:
        while len(self._probers) < len(groups):
            self._probers.append(UpstreamProber(self))
        for prober, (upstream, endpoints) in zip(self._probers, groups, strict=True):
            prober.watch(upstream, endpoints)
        self._by_index = {i: prober for prober in self._probers for i in prober.endpoints}

    def on_breaker_change(self) -> None:
        """A breaker has moved: log it, and probe the endpoints of those that have opened."""
        for sample in self.engine.health_sample():
            index, breaker = sample["index"], sample["breaker"]
            before = self._moves.get(index, dict.fromkeys(breaker["to"], 0))
            self._moves[index] = breaker["to"]
            if breaker["to"] == before:
                continue
            self._log_breaker(index, breaker, before, sample["due_s"])
            if breaker["to"]["open"] != before["open"] and index in self._by_index:
                self._by_index[index].probe_now(index)
        self.rotation.reconsider()

    def _log_breaker(
        self, index: int, breaker: Mapping[str, Any], before: Mapping[str, int], due: float
    ) -> None:
        moves = ", ".join(
            f"{name} {n - before[name]}x" if n - before[name] > 1 else name
            for name, n in breaker["to"].items()
            if n != before[name]
        )
        is_open = breaker["state"] == "open"
        later = f"; half open in {due:.1f} s" if is_open else ""
        level = logging.WARNING if is_open else logging.INFO
        log.log(level, f"{self._url(index)}: breaker {moves}, now {breaker['state']}{later}")

    def _url(self, index: int) -> str:
        prober = self._by_index.get(index)
        return prober.endpoints[index].endpoint.address.url if prober else f"endpoint {index}"

    def snapshot(self, index: int) -> dict[str, Any] | None:
        """The state of one endpoint; None: it is not watched."""
        prober = self._by_index.get(index)
        if prober is None:
            return None
        return {**self.rotation.snapshot(index), **prober.endpoints[index].snapshot()}

    async def stop(self) -> None:
        for prober in self._probers:
            await prober.stop()
