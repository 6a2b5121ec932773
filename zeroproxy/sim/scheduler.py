"""The engine of the simulator: one scheduler that steps all running choices together.

Each step gives every running choice one token, as a batching engine does. Choices above
`max_running` wait in order. A prefill delay comes before the first token. There is one timer for
all of them, and none while nothing runs.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from zeroproxy.sim.options import SimOptions, Stats


class Clock(Protocol):
    """The part of an event loop that the scheduler needs."""

    def time(self) -> float: ...

    def call_at(self, when: float, callback: Callable[[], None]) -> Any: ...


class Job:
    """One request: its choices run apart, its tokens arrive in one inbox."""

    def __init__(self, totals: list[int], prefill: float) -> None:
        self.choices = [Choice(self, k, total) for k, total in enumerate(totals)]
        self.prefill = prefill
        self.inbox: deque[int] = deque()  # the choice that each new token belongs to
        self._waiter: asyncio.Future[None] | None = None

    async def next(self) -> int:
        """The choice that the next token belongs to."""
        while not self.inbox:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self.inbox.popleft()

    def give(self, index: int) -> None:
        self.inbox.append(index)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


@dataclass(eq=False, slots=True)
class Choice:
    job: Job = field(repr=False)
    index: int
    total: int
    done: int = 0
    ready_at: float = 0.0  # when its prefill is over; set when it is admitted


class Scheduler:
    """Steps every 1/tokens_per_second while something runs, less often if steps grow."""

    def __init__(self, options: SimOptions, stats: Stats, clock: Clock) -> None:
        self._options = options
        self._stats = stats
        self._clock = clock
        self._interval = 1.0 / options.tokens_per_second
        self._running: dict[Choice, None] = {}  # ordered sets: leaving the middle costs nothing
        self._waiting: dict[Choice, None] = {}
        self._last_step = float("-inf")
        self._timer: Any = None

    def submit(self, job: Job) -> None:
        self._stats.begun += 1
        self._waiting.update(dict.fromkeys(job.choices))
        self._settle()

    def leave(self, job: Job, finished: bool) -> None:
        """A request is over; an aborted one frees its slots at once."""
        for choice in job.choices:
            self._running.pop(choice, None)
            self._waiting.pop(choice, None)
        if finished:
            self._stats.finished += 1
        else:
            self._stats.aborted += 1
        self._settle()

    def close(self) -> None:
        self._running.clear()
        self._waiting.clear()
        self._settle()

    def _settle(self) -> None:
        """Admit, count, and set the timer for the next step."""
        now = self._clock.time()
        while self._waiting and len(self._running) < self._options.max_running:
            choice = next(iter(self._waiting))
            del self._waiting[choice]
            choice.ready_at = now + choice.job.prefill
            self._running[choice] = None
        stats = self._stats
        stats.running, stats.waiting = len(self._running), len(self._waiting)
        stats.peak_running = max(stats.peak_running, stats.running)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._running:
            self._timer = self._clock.call_at(self._due(), self._on_timer)

    def _pause(self) -> float:
        """How long a step of all that run takes."""
        return self._interval * (1 + self._options.step_growth * (len(self._running) - 1))

    def _due(self) -> float:
        """The time of the next step: at the set rate, but not before a job is ready."""
        return max(self._last_step + self._pause(), min(c.ready_at for c in self._running))

    def _on_timer(self) -> None:
        due, now = self._due(), self._clock.time()
        # A late step does not shift the ones after it, unless it is later than a whole interval.
        self._last_step = due if now - due < self._pause() else now
        self._step(now)
        self._settle()

    def _step(self, now: float) -> None:
        # A timer may fire a clock tick early; the job that made the step due is ready.
        horizon = max(now, self._last_step)
        for choice in [c for c in self._running if c.ready_at <= horizon]:
            choice.done += 1
            self._stats.generated_tokens += 1
            if choice.done == choice.total:
                del self._running[choice]
            choice.job.give(choice.index)
