"""What kind of inference server stands behind an endpoint, and so what it can be asked for.

Law 1. A preset names the server: it is believed. Without one the list of models does, whose
       `owned_by` is the server's own name with vLLM, SGLang, llama.cpp and FastChat; or, where that
       wants a key nobody gave us, the page of counters, which wants none. A caller's key is never
       used.
Law 2. One that does not answer, or not yet (429, 5xx), is asked again until it does. One that has
       answered is left alone until it was out of rotation, so nothing runs while nothing happens.
Law 3. What is not known costs counts: the operator is told once, /status and `check` show it.
Law 4. The work is linear in the number of endpoints: the list of models is made anew at most every
       LIST_EVERY seconds however many answers come.
Tests: tests/unit/test_backend.py, tests/unit/test_first_look.py.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import aiohttp
import orjson

from zeroproxy.config.presets import PRESETS
from zeroproxy.config.schema import Alias, Config, Metering, Upstream
from zeroproxy.policy.addresses import Address
from zeroproxy.policy.http_client import get_page, read_page, session_for, within

TIMEOUT = 2.0  # seconds for one answer
RETRY_FIRST, RETRY_LAST = 0.25, 5.0  # seconds between two questions
LIST_EVERY = 0.2  # seconds between two lists of models

#: Presets that name a dialect and no server.
NO_SERVER = ("", "openai")

COST = ("running usage is not asked for, so a stream that is cut counts only what was seen of it; "
        "set preset, or api_key where the server wants one")  # fmt: skip

#: What servers understand. vLLM tells running usage only if it is to tell the closing one too,
#: SGLang tells either alone. llama.cpp says all in `timings`, at the end unasked and with every
#: event if asked; asking for usage would move them to the event that is taken out. FastChat has no
#: usage in its streams.
WISHES = {
    "vllm": "running",
    "sglang": "running_alone",
    "llamacpp": "timings",
    "fastchat": "nothing",
}

#: Of these the server says what it has written so far, not only at the end.
RUNNING = ("running", "running_alone", "timings")

#: Servers that are another one by this name: vLLM's front end in Rust.
ALIASES = {"vllm-frontend-rs": "vllm"}


class Member(Protocol):
    """An endpoint in force; `index` is the engine's."""

    @property
    def index(self) -> int: ...

    @property
    def address(self) -> Address: ...


class Engine(Protocol):
    def set_endpoint(self, index: int, *, usage_request: str | None = None) -> None: ...

    def set_models(self, body: bytes | None) -> None: ...


def wish_for(metering: Metering, kind: str) -> str:
    """What to ask a server of this kind for; "": not known."""
    if not metering.inject_usage:
        return "nothing"
    usage_request = WISHES.get(kind, "usage")
    if metering.continuous_usage == "always":
        return usage_request if usage_request in RUNNING else "running"
    if metering.continuous_usage == "never":
        return "nothing" if usage_request in ("nothing", "timings") else "usage"
    return usage_request


def misses_usage(metering: Metering) -> bool:
    """Whether it matters that a server is not known."""
    return metering.inject_usage and metering.continuous_usage == "auto"


def kind_in(answer: Any) -> str:
    """The server's name in its list of models; "": it does not say."""
    try:
        owner = answer["data"][0]["owned_by"]
    except (KeyError, IndexError, TypeError):
        return ""
    if not isinstance(owner, str):
        return ""
    return ALIASES.get(owner.lower(), owner.lower())


class NotYet(Exception):
    """It may know later: 429 or 5xx."""


class Found(NamedTuple):
    """What an endpoint says it is."""

    kind: str = ""
    why: str = ""  # it is not known
    answer: Any = None  # its list of models


async def ask(address: Address, api_key: str = "") -> tuple[int, Any]:
    """Status and list of models of the server at `address`; None: it answered something else."""
    async with (
        session_for(address, None, api_key) as session,
        session.get(
            "/v1/models", allow_redirects=False, server_hostname=address.server_name
        ) as response,
    ):
        if response.status != 200:
            return response.status, None
        body = await read_page(response)
    try:
        return 200, orjson.loads(body)
    except orjson.JSONDecodeError:
        return 200, None


async def look_at(address: Address, api_key: str = "") -> Found:
    """Raises OSError, TimeoutError, aiohttp.ClientError or NotYet if it does not answer."""
    status, answer = await within(TIMEOUT, ask(address, api_key))
    if status == 429 or status >= 500:
        raise NotYet
    kind = kind_in(answer)
    if not kind:
        kind = kind_of_page(await get_page(address, "/metrics", TIMEOUT))
    return Found(kind, "" if kind else f"GET /v1/models says {status}", answer)


def kind_of_page(page: bytes | None) -> str:
    """The server whose counters these are; "": nobody's we know."""
    lines = (page or b"").decode("utf-8", "replace").splitlines()
    for name, preset in PRESETS.items():
        names = (*preset.counters, *preset.running, *preset.waiting)
        if names and any(line.startswith(names) for line in lines):
            return name
    return ""


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


Group = tuple[Upstream, Sequence[Member]]


class Backends:
    """Asks every endpoint once, in the background, and tells the engine. `say` takes one line for
    the operator. Use it on the loop."""

    def __init__(self, engine: Engine, say: Callable[[str], None]) -> None:
        self._engine, self._say = engine, say
        self._metering = Metering()
        self._groups: Sequence[Group] = ()
        self._upstreams: dict[int, Upstream] = {}  # by index of the endpoint
        self._members: dict[int, Member] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._first: dict[int, asyncio.Event] = {}  # it was asked once
        self._found: dict[str, Found] = {}  # by URL
        self._told: dict[int, str] = {}
        self._said: set[str] = set()
        self._lists = False
        self._listing: asyncio.TimerHandle | None = None

    def watch(self, groups: Sequence[Group], config: Config) -> None:
        """These are in force, and this is wanted of them; those not asked yet are asked."""
        self._metering, self._groups = config.metering, groups
        # The list of models is ours to give: several upstreams, or names of our own.
        self._lists = len(groups) > 1 or any(
            alias.name != alias.serves for u, _ in groups for alias in u.all_models()
        )
        self._members = {m.index: m for _, members in groups for m in members}
        self._upstreams = {m.index: upstream for upstream, members in groups for m in members}
        for index in set(self._tasks) - set(self._members):
            self._tasks.pop(index).cancel()
            self._first.pop(index)
            self._told.pop(index, None)
        urls = {m.address.url for m in self._members.values()}
        self._found = {url: found for url, found in self._found.items() if url in urls}
        for index, member in self._members.items():
            self._tell(member)
            if index not in self._tasks and self._wants_to_know(index):
                self._ask(member)
        self._list_models()

    def came_back(self, index: int) -> None:
        """It was out of rotation and is well again: whoever answers there may be another."""
        member = self._members.get(index)
        if member is not None and self._wants_to_know(index):
            if index in self._tasks:
                self._tasks[index].cancel()
            self._ask(member)

    async def first_look(self, seconds: float) -> None:
        """Until every endpoint was asked once, whatever came of it; no longer than `seconds`."""
        waits = [asyncio.ensure_future(event.wait()) for event in self._first.values()]
        if waits:
            _, late = await asyncio.wait(waits, timeout=seconds)
            for wait in late:
                wait.cancel()
        self._list_models()

    # ------------------------------------------------------------ what others ask

    def kind_at(self, url: str) -> str:
        """What server it says it is; "": it has not."""
        return self._found[url].kind if url in self._found else ""

    def kind_of(self, member: Member) -> str:
        """What server it is taken to be; "": not known."""
        return self._kind(self._upstreams[member.index], member.address.url)

    def _kind(self, upstream: Upstream, url: str) -> str:
        return self.kind_at(url) if upstream.preset in NO_SERVER else upstream.preset

    def wish_of(self, upstream: Upstream, url: str) -> str:
        """What an endpoint that is to be added may be asked for."""
        return wish_for(self._metering, self._kind(upstream, url))

    @property
    def kinds(self) -> dict[str, str]:
        """By URL, of each that has a preset or has answered."""
        return {
            m.address.url: self.kind_of(m)
            for m in self._members.values()
            if m.address.url in self._found or self.kind_of(m)
        }

    def unknown(self) -> dict[str, str]:
        """By URL: why it is not known what server it is, and what that costs."""
        return {m.address.url: self._lack(m) for m in self._members.values() if self._lack(m)}

    def _lack(self, member: Member) -> str:
        found = self._found.get(member.address.url)
        if found is None or self.kind_of(member) or not misses_usage(self._metering):
            return ""
        return f"{found.why}: {COST}"

    # ------------------------------------------------------------ asking

    def _wants_to_know(self, index: int) -> bool:
        is_wished = self._metering.inject_usage and self._upstreams[index].preset in NO_SERVER
        return is_wished or self._lists

    def _ask(self, member: Member) -> None:
        self._first.setdefault(member.index, asyncio.Event())
        self._tasks[member.index] = asyncio.ensure_future(self._learn(member))

    def _tell(self, member: Member) -> None:
        usage_request = wish_for(self._metering, self.kind_of(member))
        if self._told.get(member.index) != usage_request:
            self._told[member.index] = usage_request
            self._engine.set_endpoint(member.index, usage_request=usage_request)

    async def _learn(self, member: Member) -> None:
        wait = RETRY_FIRST
        index, url = member.index, member.address.url
        while True:
            try:
                found = await look_at(member.address, self._upstreams[index].api_key)
                break
            except (OSError, TimeoutError, aiohttp.ClientError, NotYet):
                self._first[index].set()
            await asyncio.sleep(wait)
            wait = min(2 * wait, RETRY_LAST)
        self._found[url] = found
        self._tell(member)
        if (lack := self._lack(member)) and url not in self._said:
            self._said.add(url)
            self._say(f"{url}: what server it is is not known, {lack}")
        self._list_soon()
        self._first[index].set()

    # ------------------------------------------------------------ the list of models

    def _list_soon(self) -> None:
        if self._listing is None and self._lists:
            self._listing = asyncio.get_running_loop().call_later(LIST_EVERY, self._list_models)

    def _list_models(self) -> None:
        if self._listing is not None:
            self._listing.cancel()
            self._listing = None
        self._engine.set_models(self._merged() if self._lists else None)

    def _merged(self) -> bytes:
        return merged(
            (upstream.all_models(), [self._answer_of(m) for m in members])
            for upstream, members in self._groups
        )

    def _answer_of(self, member: Member) -> Any:
        found = self._found.get(member.address.url)
        return found.answer if found is not None else None

    async def stop(self) -> None:
        if self._listing is not None:
            self._listing.cancel()
        for task in self._tasks.values():
            task.cancel()
        for task in self._tasks.values():
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()
