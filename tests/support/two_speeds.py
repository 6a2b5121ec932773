"""A closed loop of callers on simulated servers, in simulated time: the throughput of a policy.

Servers batch as inference servers do: each step gives every running answer a token. At most `slots`
run, the others wait in order; a step may take longer the more answers are in it. Nothing sleeps and
no clock is read, so the same seed gives the same figures on any machine.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from tests.probes.balance import Attempt, Balancer


@dataclass(frozen=True)
class Speed:
    """Seconds; `growth` is added to a step for every answer in it but one."""

    step: float
    first: float
    slots: int = 1 << 30
    growth: float = 0.0

    def slower(self, factor: float) -> Speed:
        return Speed(self.step * factor, self.first * factor, self.slots, self.growth * factor)


@dataclass(eq=False)
class Job:
    attempt: Any
    tokens: int
    done: int = 0
    ready: float = 0.0


@dataclass
class Server:
    speed: Speed
    running: list[Job] = field(default_factory=list)
    waiting: deque[Job] = field(default_factory=deque)
    is_stepping: bool = False


class Loop:
    """`callers` ask, each again when it is answered; `events`: answers come event by event."""

    def __init__(
        self, balancer: Balancer, speeds: list[Speed], *, seed: int = 1, events: bool = True
    ) -> None:
        self.balancer, self.events = balancer, events
        self.servers = [Server(speed) for speed in speeds]
        self.done = [0] * len(speeds)
        self.now = 0.0
        self.fails: set[int] = set()
        self._random = random.Random(seed)
        self._serial = itertools.count()
        self._due: list[tuple[float, int, int]] = []  # when, order, server; -1: a caller asks

    def run(self, callers: int, until: float, count_from: float = 0.0) -> float:
        """Answers per second from `count_from` on."""
        counted = 0
        for k in range(callers):
            self._at(k / 1000, -1)
        while self._due and self._due[0][0] <= until:
            self.now, _, place = heapq.heappop(self._due)
            self.balancer.set_time(int(self.now * 1e9) + 1)
            if place < 0:
                self._ask()
                continue
            before = sum(self.done)
            self._step(place)
            counted += (sum(self.done) - before) if self.now > count_from else 0
        return counted / (until - count_from)

    def _at(self, when: float, place: int) -> None:
        heapq.heappush(self._due, (when, next(self._serial), place))

    def _ask(self) -> None:
        place = self.balancer.pick()
        attempt = Attempt(self.balancer, place)
        if place in self.fails:
            attempt.end(500)
            self._at(self.now + 0.001, -1)
            return
        self.servers[place].waiting.append(Job(attempt, self._random.randint(20, 60)))
        self._admit(place)

    def _admit(self, place: int) -> None:
        server = self.servers[place]
        while server.waiting and len(server.running) < server.speed.slots:
            job = server.waiting.popleft()
            job.ready = self.now + server.speed.first
            server.running.append(job)
        if server.running and not server.is_stepping:
            server.is_stepping = True
            speed = server.speed
            self._at(self.now + speed.step + speed.growth * (len(server.running) - 1), place)

    def _step(self, place: int) -> None:
        server = self.servers[place]
        server.is_stepping = False
        for job in [j for j in server.running if j.ready <= self.now]:
            job.done += 1
            if job.done == 1:
                job.attempt.speak()
            if job.done == job.tokens:
                server.running.remove(job)
                job.attempt.end(200, job.tokens if self.events else 0)
                self.done[place] += 1
                self._at(self.now, -1)
        self._admit(place)
