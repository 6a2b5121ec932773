"""The engine of the simulator: one scheduler that steps all running requests together.

Each step gives every running request one token, as a batching engine does; requests above
`max_running` wait in order; a prefill delay comes before the first token. While nothing runs no
step is taken and no timer exists.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from dataclasses import asdict, dataclass

TEXT = (
    "the sidecar hears each token leave the engine and passes it on before the next one has been "
    "thought of so nobody waits for anybody else and every count is right to the last byte"
)
WORDS = TEXT.split()


@dataclass(frozen=True)
class SimOptions:
    """How the simulated engine behaves. Times in seconds."""

    model: str = "sim-1"
    tokens_per_second: float = 50.0
    ttft: float = 0.02
    prefill_per_token: float = 0.0
    max_running: int = 64
    default_tokens: int = 16
    host: str = "127.0.0.1"
    port: int = 0


@dataclass
class Stats:
    """What the simulator has seen and sent; tokens count from when they were produced and sent."""

    begun: int = 0
    finished: int = 0
    aborted: int = 0
    faults: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    running: int = 0
    waiting: int = 0
    peak_running: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


@dataclass(eq=False)
class Job:
    """One request (all its choices step together)."""

    prompt_tokens: int
    total: int
    words: list[str]
    produced: int = 0
    starts_at: float = 0.0

    def text(self, k: int) -> str:
        return (" " if k else "") + self.words[k % len(self.words)]


def make_job(prompt: str, prompt_tokens: int, max_tokens: int | None, default: int) -> Job:
    """The same prompt always gives the same text and length."""
    digest = hashlib.sha256(prompt.encode()).digest()
    start = digest[0] % len(WORDS)
    words = WORDS[start:] + WORDS[:start]
    total = max_tokens if max_tokens is not None else default + digest[1] % 8
    return Job(prompt_tokens, total, words)


class Scheduler:
    """Steps every 1/tokens_per_second while something runs or waits."""

    def __init__(self, options: SimOptions, stats: Stats) -> None:
        self._options = options
        self._stats = stats
        self._running: list[Job] = []
        self._waiting: deque[Job] = deque()
        self._stepped: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def submit(self, job: Job) -> None:
        self._stats.begun += 1
        self._stats.prompt_tokens += job.prompt_tokens
        self._waiting.append(job)
        self._stats.waiting = len(self._waiting)
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._run())

    async def step(self) -> None:
        """Wait for the next step of the engine."""
        if self._stepped is None:
            self._stepped = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._stepped)

    def leave(self, job: Job, finished: bool) -> None:
        """A request is over; an aborted one frees its slot at once."""
        if job in self._running:
            self._running.remove(job)
        elif job in self._waiting:
            self._waiting.remove(job)
        if finished:
            self._stats.finished += 1
        else:
            self._stats.aborted += 1
        self._count()

    def _count(self) -> None:
        self._stats.running = len(self._running)
        self._stats.waiting = len(self._waiting)
        self._stats.peak_running = max(self._stats.peak_running, len(self._running))

    def _admit(self, now: float) -> None:
        while self._waiting and len(self._running) < self._options.max_running:
            job = self._waiting.popleft()
            job.starts_at = (
                now + self._options.ttft + self._options.prefill_per_token * job.prompt_tokens
            )
            self._running.append(job)
        self._count()

    def _advance(self, now: float) -> None:
        for job in self._running:
            if now >= job.starts_at and job.produced < job.total:
                job.produced += 1
        if self._stepped is not None:
            self._stepped.set_result(None)
            self._stepped = None

    async def _run(self) -> None:
        interval = 1.0 / self._options.tokens_per_second
        due = time.monotonic()
        while self._running or self._waiting:
            now = time.monotonic()
            self._admit(now)
            self._advance(now)
            due = max(due + interval, now)
            await asyncio.sleep(due - now)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
