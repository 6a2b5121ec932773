"""What kind of inference server stands behind an endpoint, and so what it can be asked for.

The list of models says it: `owned_by` is the server's own name with vLLM, SGLang, llama.cpp and
FastChat. One that does not answer is asked again until it does; one that has answered is left
alone, so that nothing runs while nothing happens.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import aiohttp
import orjson

from zeroproxy.config import Alias, Config, Metering, Upstream
from zeroproxy.policy.addresses import Address
from zeroproxy.policy.probe import read_page, session_for

# asked.Wish of the data plane
NOTHING, AT_THE_END, WITH_EVERY_EVENT, EITHER_ALONE, TIMINGS = range(5)
TIMEOUT = 2.0  # seconds for one answer
RETRY_FIRST, RETRY_LAST = 0.25, 5.0  # seconds between two questions

#: What servers understand. vLLM tells running usage only if it is to tell the closing one too,
#: SGLang tells either alone. llama.cpp says all in `timings`, at the end unasked and with every
#: event if asked; asking for usage would move them to the event that is taken out. FastChat has no
#: usage in its streams.
WISHES = {
    "vllm": WITH_EVERY_EVENT,
    "sglang": EITHER_ALONE,
    "llamacpp": TIMINGS,
    "fastchat": NOTHING,
}

#: Servers that are another one by this name: vLLM's front end in Rust.
ALIASES = {"vllm-frontend-rs": "vllm"}


class Member(Protocol):
    """An endpoint in force; `index` is the engine's."""

    @property
    def index(self) -> int: ...

    @property
    def address(self) -> Address: ...

    @property
    def place(self) -> tuple[str, bool]:
        """The URL it has in the configuration, and whether its address has a name of its own."""
        ...


class Engine(Protocol):
    def set_endpoint(self, index: int, *, wish: int | None = None) -> None: ...

    def set_models(self, body: bytes | None) -> None: ...


def wish_for(metering: Metering, kind: str) -> int:
    """What to ask a server of this kind for; "": not known."""
    if not metering.inject_usage:
        return NOTHING
    wish = WISHES.get(kind, AT_THE_END)
    if wish == TIMINGS:
        return NOTHING if metering.continuous_usage == "never" else TIMINGS
    if metering.continuous_usage == "always":
        return max(wish, WITH_EVERY_EVENT)
    return min(wish, AT_THE_END) if metering.continuous_usage == "never" else wish


def kind_in(answer: Any) -> str:
    """The server's name in its list of models; "": it does not say."""
    try:
        owner = answer["data"][0]["owned_by"]
    except (KeyError, IndexError, TypeError):
        return ""
    if not isinstance(owner, str):
        return ""
    return ALIASES.get(owner.lower(), owner.lower())


async def ask(address: Address, api_key: str = "") -> Any:
    """The list of models of the server at `address`; None: it answered something else. Raises
    OSError, TimeoutError or aiohttp.ClientError if it does not answer."""
    async with (
        session_for(address, TIMEOUT, api_key) as session,
        session.get(
            "/v1/models", allow_redirects=False, server_hostname=address.server_name
        ) as response,
    ):
        if response.status != 200:
            return None
        body = await read_page(response)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def models_in(answer: Any) -> dict[str, Any]:
    """The models of such a list, by id."""
    listed = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(listed, list):
        return {}
    return {m["id"]: m for m in listed if isinstance(m, dict) and isinstance(m.get("id"), str)}


def merged(upstreams: Iterable[tuple[Sequence[Alias], Iterable[Any]]]) -> bytes:
    """One list of models out of those of several upstreams, as JSON. Each upstream: the models it
    is configured for (none: all nobody lists) and the answers of its endpoints. A model that is
    configured is listed even if its server has not said a word yet."""
    groups = [(tuple(names), answers) for names, answers in upstreams]
    taken = {alias.name for names, _ in groups for alias in names}
    found: dict[str, Any] = {}
    for names, answers in groups:
        said: dict[str, Any] = {}
        for answer in answers:
            said |= models_in(answer)
        rest = [Alias(name=name, serves=name) for name in said if name not in taken]
        for alias in names or rest:
            plain = {"object": "model", "created": 0, "owned_by": "zeroproxy"}
            model = said.get(alias.serves, plain) | {"id": alias.name}
            found.setdefault(alias.name, model)
    return orjson.dumps({"object": "list", "data": list(found.values())})


class Backends:
    """Asks every endpoint once, in the background, and tells the engine. Use it on the loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._metering = Metering()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self.kinds: dict[str, str] = {}
        self._answers: dict[str, Any] = {}
        self._members: dict[int, Member] = {}
        self._upstreams: tuple[Upstream, ...] = ()

    def watch(self, members: Iterable[Member], config: Config) -> None:
        """These are in force, and this is wanted of them; those not asked yet are asked."""
        self._metering = metering = config.metering
        self._upstreams = config.upstream
        self._members = now = {member.index: member for member in members}
        self._list_models()
        for index in set(self._tasks) - set(now):
            self._tasks.pop(index).cancel()
        for index, member in now.items():
            self._tell(member)
            if (metering.inject_usage or self._lists()) and index not in self._tasks:
                self._tasks[index] = asyncio.ensure_future(self._learn(member))

    def _tell(self, member: Member) -> None:
        kind = self.kinds.get(member.address.url, "")
        self._engine.set_endpoint(member.index, wish=wish_for(self._metering, kind))

    async def _learn(self, member: Member) -> None:
        wait = RETRY_FIRST
        while True:
            try:
                answer = await ask(member.address, self._key_for(member))
            except (OSError, TimeoutError, aiohttp.ClientError):
                await asyncio.sleep(wait)
                wait = min(2 * wait, RETRY_LAST)
                continue
            self.kinds[member.address.url] = kind_in(answer)
            self._answers[member.address.url] = answer
            self._tell(member)
            self._list_models()
            return

    def _key_for(self, member: Member) -> str:
        mine = (u for u in self._upstreams if member.place[0] in {e.url for e in u.all_endpoints()})
        return next((u.api_key for u in mine), "")

    def _lists(self) -> bool:
        """Whether the list of models is ours to give: several upstreams, or names of our own."""
        return len(self._upstreams) > 1 or any(
            alias.name != alias.serves for u in self._upstreams for alias in u.all_models()
        )

    def _answers_of(self, upstream: Upstream) -> list[Any]:
        urls = {endpoint.url for endpoint in upstream.all_endpoints()}
        mine = (member for member in self._members.values() if member.place[0] in urls)
        return [self._answers.get(member.address.url) for member in mine]

    def _list_models(self) -> None:
        body = merged((u.all_models(), self._answers_of(u)) for u in self._upstreams)
        self._engine.set_models(body if self._lists() else None)

    async def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()
