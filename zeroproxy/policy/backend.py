"""What kind of inference server stands behind an endpoint, and so what it can be asked for.

The list of models says it: `owned_by` is the server's own name with vLLM, SGLang, llama.cpp and
FastChat. One that does not answer is asked again until it does; one that has answered is left
alone, so that nothing runs while nothing happens.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any, Protocol

import aiohttp
import orjson

from zeroproxy.config import Metering
from zeroproxy.policy.addresses import Address

NOTHING, AT_THE_END, WITH_EVERY_EVENT = 0, 1, 2  # asked.Wish of the data plane
TIMEOUT = 2.0  # seconds for one answer
RETRY_FIRST, RETRY_LAST = 0.25, 5.0  # seconds between two questions
ANSWER_MAX = 1 << 20  # bytes of an answer that are read

#: What servers understand. llama.cpp says all in `timings`, which asking for usage would move to
#: the event that is taken out; FastChat has no usage in its streams.
WISHES = {
    "vllm": WITH_EVERY_EVENT,
    "sglang": WITH_EVERY_EVENT,
    "llamacpp": NOTHING,
    "fastchat": NOTHING,
}


class Member(Protocol):
    """An endpoint in force; `index` is the engine's."""

    @property
    def index(self) -> int: ...

    @property
    def address(self) -> Address: ...


class Engine(Protocol):
    def set_endpoint(self, index: int, *, wish: int | None = None) -> None: ...


def wish_for(metering: Metering, kind: str) -> int:
    """What to ask a server of this kind for; "": not known."""
    if not metering.inject_usage:
        return NOTHING
    wish = WISHES.get(kind, AT_THE_END)
    if metering.continuous_usage == "always":
        return WITH_EVERY_EVENT
    return min(wish, AT_THE_END) if metering.continuous_usage == "never" else wish


def kind_in(answer: Any) -> str:
    """The server's name in its list of models; "": it does not say."""
    try:
        owner = answer["data"][0]["owned_by"]
    except (KeyError, IndexError, TypeError):
        return ""
    return owner.lower() if isinstance(owner, str) else ""


async def ask(address: Address) -> str:
    """The kind of the server at `address`; "": it answered something else. Raises OSError,
    TimeoutError or aiohttp.ClientError if it does not answer."""
    connector = None
    if isinstance(address.target, str):
        connector = aiohttp.UnixConnector(address.target)
    host = {"Host": address.authority.decode("latin-1")}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session,
        session.get(address.base + "/v1/models", headers=host, allow_redirects=False) as response,
    ):
        if response.status != 200:
            return ""
        body = await response.content.read(ANSWER_MAX)
    try:
        return kind_in(orjson.loads(body))
    except orjson.JSONDecodeError:
        return ""


class Backends:
    """Asks every endpoint once, in the background, and tells the engine. Use it on the loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._metering = Metering()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self.kinds: dict[str, str] = {}

    def watch(self, members: Iterable[Member], metering: Metering) -> None:
        """These are in force, and this is wanted of them; those not asked yet are asked."""
        self._metering = metering
        now = {member.index: member for member in members}
        for index in set(self._tasks) - set(now):
            self._tasks.pop(index).cancel()
        for index, member in now.items():
            self._tell(member)
            if metering.inject_usage and index not in self._tasks:
                self._tasks[index] = asyncio.ensure_future(self._learn(member))

    def _tell(self, member: Member) -> None:
        kind = self.kinds.get(member.address.url, "")
        self._engine.set_endpoint(member.index, wish=wish_for(self._metering, kind))

    async def _learn(self, member: Member) -> None:
        wait = RETRY_FIRST
        while True:
            try:
                kind = await ask(member.address)
            except (OSError, TimeoutError, aiohttp.ClientError):
                await asyncio.sleep(wait)
                wait = min(2 * wait, RETRY_LAST)
                continue
            self.kinds[member.address.url] = kind
            self._tell(member)
            return

    async def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()
