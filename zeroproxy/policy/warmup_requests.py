"""A small request to each endpoint for each model, before callers send any.

Law 1. One task per endpoint that is cold, none otherwise: it ends when every model was answered or
       refused, or the time is up. After that no request is sent until the endpoint was out.
Law 2. No setting of the engine is written here. rotation.py decides if a cold endpoint is left out.
Law 3. The requests go straight to the endpoint, over conns of their own: no permit, no record, no
       bill, nothing a breaker sees.
Tests: tests/unit/test_warmup.py, tests/e2e/test_warmup.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp
import orjson

from zeroproxy.backoff import Backoff
from zeroproxy.config.schema import Upstream
from zeroproxy.config.schema import Warmup as Settings
from zeroproxy.errors import one_line
from zeroproxy.policy.http_client import read_page, session_for, why
from zeroproxy.policy.rotation import Rotation
from zeroproxy.policy.server_detection import models_in
from zeroproxy.policy.socket_addresses import Group, WatchedEndpoint
from zeroproxy.tasks import cancel

log = logging.getLogger(__name__)

RETRY_FIRST, RETRY_LAST = 0.25, 5.0  # seconds between two questions
SHOWN = 200  # characters of a refusal
TAKES_MESSAGES = ("/chat/completions", "/messages")
WARMING, WARM, FAILED = "warming", "warm", "failed"

T = TypeVar("T")


class NotYet(Exception):
    """It may answer later: 429 or 5xx."""


@dataclass
class Warming:
    """The warm-up of one endpoint."""

    endpoint: WatchedEndpoint
    upstream: str
    models: tuple[str, ...]  # the server's names; empty: its list is read
    settings: Settings
    api_key: str = field(default="", repr=False)
    state: str = WARMING
    model: str = ""  # the one in hand
    reason: str = ""  # why not yet, or why not at all
    is_absent: bool = False  # it does not even accept a connection
    seconds: dict[str, float] = field(default_factory=dict)  # of the answer, by model
    refused: list[str] = field(default_factory=list)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return self.endpoint.address.url

    def snapshot(self) -> dict[str, Any]:
        seconds = {model: round(s, 6) for model, s in self.seconds.items()}
        return {"state": self.state, "reason": self.reason, "seconds": seconds}


def body_of(settings: Settings, model: str) -> dict[str, Any]:
    """The body to post; a model without a name is left out."""
    body: dict[str, Any] = {"model": model} if model else {}
    if settings.path.partition("?")[0].endswith(TAKES_MESSAGES):
        body["messages"] = [{"role": "user", "content": settings.prompt}]
    else:
        body["prompt"] = settings.prompt
    return {**body, "max_tokens": settings.max_tokens, "stream": False}


def reason_of(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return why(error)
    return str(error) or type(error).__name__


def check(response: aiohttp.ClientResponse) -> None:
    """Raises NotYet."""
    if response.status == 429 or response.status >= 500:
        raise NotYet(f"{response.method} {response.url.raw_path_qs} returned {response.status}")


async def list_models(session: aiohttp.ClientSession, name: str | None) -> tuple[str, ...]:
    """The models in the server's list; one without a name if it gives none. `name`: the name its
    certificate must hold, if not the host."""
    async with session.get("/v1/models", allow_redirects=False, server_hostname=name) as response:
        check(response)
        body = await read_page(response)
    try:
        models = tuple(models_in(orjson.loads(body))) if response.status == 200 else ()
    except orjson.JSONDecodeError:
        models = ()
    return models or ("",)


async def warm_model(
    session: aiohttp.ClientSession, settings: Settings, model: str, name: str | None
) -> str:
    """ "" if it was answered, else why it is refused for good. `name`: as for list_models()."""
    request_body = body_of(settings, model)
    async with session.post(
        settings.path, json=request_body, allow_redirects=False, server_hostname=name
    ) as response:
        check(response)
        body = await read_page(response)
        if response.status == 200:
            return ""
    text = one_line(body.decode("utf-8", "replace"))[:SHOWN]
    return f"POST {settings.path} returned {response.status}: {text}"


class Warmups:
    """All upstreams. Use it on the loop."""

    def __init__(self, rotation: Rotation) -> None:
        self._rotation = rotation
        rotation.on_recovery(self.begin_anew)
        self._groups: Sequence[Group] = ()
        self._known: set[int] = set()
        self._jobs: dict[int, Warming] = {}

    # ------------------------------------------------------------ endpoints

    def watch(self, groups: Sequence[Group]) -> None:
        """These are in force. New ones are warmed; a request that a reload changed
        holds for those that begin after it."""
        self._groups = groups
        now = {e.index: (u, e) for u, endpoints in groups for e in endpoints}
        for index in list(self._jobs):
            if index not in now or not now[index][0].warmup.path:
                self._end(self._jobs.pop(index))
                self._rotation.report_warmth(index, is_cold=False)
        for index in set(now) - self._known:
            self._begin(*now[index])
        self._known = set(now)

    def begin_anew(self, index: int) -> None:
        """It was out of rotation and is well again: the server may have just started."""
        job = self._jobs.get(index)
        if job is not None and job.state == WARMING:
            job.is_absent = False
            job.wake.set()
            return
        for upstream, endpoints in self._groups:
            for endpoint in endpoints:
                if endpoint.index == index:
                    self._begin(upstream, endpoint)

    def _begin(self, upstream: Upstream, endpoint: WatchedEndpoint) -> None:
        if not upstream.warmup.path:
            return
        models = tuple(alias.serves for alias in upstream.all_models())
        job = Warming(endpoint, upstream.name, models, upstream.warmup, upstream.api_key)
        self._jobs[endpoint.index] = job
        self._rotation.report_warmth(endpoint.index, is_cold=True)
        job.task = asyncio.ensure_future(self._run(job))

    def _end(self, job: Warming) -> None:
        if job.task is not None:
            job.task.cancel()

    # ------------------------------------------------------------ readers

    def reasons(self) -> list[str]:
        """The endpoints to wait for. One that is not there at all is none of them, where another of
        its upstream is warm."""
        warm = {job.upstream for job in self._jobs.values() if job.state == WARM}
        return [
            f"{job.url}: {job.model or 'its model'} is being warmed up"
            + (f": {job.reason}" if job.reason else "")
            for job in self._jobs.values()
            if job.state == WARMING and not (job.is_absent and job.upstream in warm)
        ]

    def snapshot(self, index: int) -> dict[str, Any] | None:
        """The warm-up of one endpoint; None: it was never to be warmed."""
        job = self._jobs.get(index)
        return job.snapshot() if job is not None else None

    async def stop(self) -> None:
        await cancel(*(job.task for job in self._jobs.values()))

    # ------------------------------------------------------------ requests

    async def _run(self, job: Warming) -> None:
        where = job.endpoint.address
        try:
            async with (
                asyncio.timeout(job.settings.timeout),
                # Two timeouts that fire at once would be taken for one, and the task go on.
                session_for(where, None, job.api_key) as session,
            ):
                models = job.models or await self._insist(
                    job, lambda: list_models(session, where.server_name)
                )
                for model in models:
                    await self._warm(job, session, model)
        except TimeoutError:
            last = f": {job.reason}" if job.reason else ""
            model = f"{job.model}: " if job.model else ""
            job.refused.append(f"{model}no answer within {job.settings.timeout:g} s{last}")
        except Exception as error:  # else it would be cold for ever
            job.refused.append(f"{type(error).__name__}: {error}")
        self._finish(job, "; ".join(job.refused))

    async def _warm(self, job: Warming, session: aiohttp.ClientSession, model: str) -> None:
        """One model, until it has answered or will not."""
        job.model, job.reason = model, ""

        async def attempt() -> str:
            began = time.monotonic()
            refusal = await warm_model(
                session, job.settings, model, job.endpoint.address.server_name
            )
            if not refusal:
                job.seconds[model] = time.monotonic() - began
            return refusal

        if refusal := await self._insist(job, attempt):
            job.refused.append(f"{model}: {refusal}" if model else refusal)

    async def _insist(self, job: Warming, attempt: Callable[[], Awaitable[T]]) -> T:
        """The result of `attempt`, tried until the server answers."""
        backoff = Backoff(RETRY_FIRST, RETRY_LAST)
        while True:
            try:
                answer = await attempt()
            except (NotYet, OSError, aiohttp.ClientError) as error:
                job.reason = reason_of(error)
                job.is_absent = isinstance(error, aiohttp.ClientConnectorError)
            else:
                job.is_absent = False
                return answer
            job.wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff.pause()):
                    await job.wake.wait()

    def _finish(self, job: Warming, refused: str) -> None:
        job.reason, job.model = refused, ""
        job.state = FAILED if refused else WARM
        if refused:
            log.warning(f"{job.url} is used without a warm-up: {refused}")
        else:
            each = ", ".join(f"{m or 'its model'} {s:.3f} s" for m, s in job.seconds.items())
            log.info(f"{job.url} is warm: {each}")
        self._rotation.report_warmth(job.endpoint.index, is_cold=False)
        self._rotation.reconsider()
