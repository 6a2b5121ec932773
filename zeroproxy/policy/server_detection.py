"""The kind of inference server behind an endpoint, which decides the usage request it gets.

Law 1. A preset names the server, and is believed. Without one the list of models does: its
       `owned_by` is the server's own name with vLLM, SGLang, llama.cpp and FastChat. Where the list
       needs a key that is not configured, the page of counters does, which needs none. A caller's
       key is never used.
Law 2. A server that does not answer, or not yet (429, 5xx), is tried again until it does. One that
       has answered is left alone until it was out of rotation: nothing runs while nothing happens.
Law 3. An unknown server costs counts: this is logged once, /status and `check` show it.
Law 4. The work is linear in the number of endpoints: the list of models is made anew at most every
       LIST_EVERY seconds however many answers come.
Tests: tests/unit/test_discovery.py, tests/unit/test_first_look.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import aiohttp
import orjson

from zeroproxy.backoff import Backoff
from zeroproxy.config.presets import PRESETS
from zeroproxy.config.schema import Alias, Config, Metering, Upstream
from zeroproxy.policy.http_client import get_page, read_page, session_for
from zeroproxy.policy.rotation import Rotation
from zeroproxy.policy.socket_addresses import Address, Group, WatchedEndpoint
from zeroproxy.tasks import cancel, within

log = logging.getLogger(__name__)

TIMEOUT = 2.0  # seconds for one answer
RETRY_FIRST, RETRY_LAST = 0.25, 5.0  # seconds between two questions
LIST_EVERY = 0.2  # seconds between two lists of models

#: Presets that name a dialect and no server.
NO_SERVER = ("", "openai")

COST = ("running usage is not asked for, so a stream that is cut counts only what was seen of it; "
        "set preset, or api_key where the server wants one")  # fmt: skip

#: The usage request that each server understands. vLLM sends running usage only together with the
#: closing one, SGLang either alone. llama.cpp has all in `timings`: at the end without a request,
#: with every event on request. A request for usage would move them to the event that is taken out.
#: FastChat has no usage in its streams.
USAGE_REQUESTS = {
    "vllm": "running",
    "sglang": "running_alone",
    "llamacpp": "timings",
    "fastchat": "nothing",
}

#: With these the server reports usage during the stream, not only at the end.
RUNNING = ("running", "running_alone", "timings")

#: Servers that are another one by this name: vLLM's front end in Rust.
ALIASES = {"vllm-frontend-rs": "vllm"}


class Engine(Protocol):
    def set_endpoint(
        self, index: int, *, usage_request: str | None = None, model_len: int | None = None
    ) -> None: ...

    def set_models(self, body: bytes | None) -> None: ...


def usage_request_for(metering: Metering, kind: str) -> str:
    """The usage to ask a server of this kind for; "": not known."""
    if not metering.inject_usage:
        return "nothing"
    usage_request = USAGE_REQUESTS.get(kind, "usage")
    if metering.continuous_usage == "always":
        return usage_request if usage_request in RUNNING else "running"
    if metering.continuous_usage == "never":
        return "nothing" if usage_request in ("nothing", "timings") else "usage"
    return usage_request


def misses_usage(metering: Metering) -> bool:
    """True where an unknown server costs counts."""
    return metering.inject_usage and metering.continuous_usage == "auto"


def kind_in(answer: Any) -> str:
    """The server's name in its list of models; "": there is none."""
    try:
        owner = answer["data"][0]["owned_by"]
    except (KeyError, IndexError, TypeError):
        return ""
    if not isinstance(owner, str):
        return ""
    return ALIASES.get(owner.lower(), owner.lower())


class NotYet(Exception):
    """It may know later: 429 or 5xx."""


class Identity(NamedTuple):
    """An endpoint's answer to what server it is."""

    kind: str = ""
    why: str = ""  # it is not known
    answer: Any = None  # its list of models


async def list_models(address: Address, api_key: str = "") -> tuple[int, Any]:
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


async def identify(address: Address, api_key: str = "") -> Identity:
    """Raises OSError, TimeoutError, aiohttp.ClientError or NotYet if it does not answer."""
    status, answer = await within(TIMEOUT, list_models(address, api_key))
    if status == 429 or status >= 500:
        raise NotYet
    kind = kind_in(answer)
    if not kind:
        kind = kind_of_page(await get_page(address, "/metrics", TIMEOUT))
    return Identity(kind, "" if kind else f"GET /v1/models returned {status}", answer)


def kind_of_page(page: bytes | None) -> str:
    """The server whose counters these are; "": unknown."""
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


def longest_in(answer: Any) -> int:
    """Tokens of the longest model of such a list (vLLM, SGLang); 0: it has no number of them."""
    lengths = [model.get("max_model_len") for model in models_in(answer).values()]
    return max((n for n in lengths if type(n) is int and 0 < n < 1 << 31), default=0)


def caps_to_model(config: Config) -> bool:
    """True if a key's max_tokens is what the model holds."""
    return config.auth is not None and any(k.max_tokens == "model" for k in config.auth.key)


def merged(upstreams: Iterable[tuple[Sequence[Alias], Iterable[Any]]]) -> bytes:
    """One list of models out of those of several upstreams, as JSON. Each upstream: the models it
    is configured for (none: all nobody lists) and the answers of its endpoints. A model that is
    configured is listed even if its server has not answered yet."""
    groups = [(tuple(names), answers) for names, answers in upstreams]
    taken = {alias.name for names, _ in groups for alias in names}
    models: dict[str, Any] = {}
    for names, answers in groups:
        known: dict[str, Any] = {}
        for answer in answers:
            known |= models_in(answer)
        rest = [Alias(name=name, serves=name) for name in known if name not in taken]
        for alias in names or rest:
            plain = {"object": "model", "created": 0, "owned_by": "zeroproxy"}
            model = known.get(alias.serves, plain) | {"id": alias.name}
            models.setdefault(alias.name, model)
    return orjson.dumps({"object": "list", "data": list(models.values())})


class Discovery:
    """Identifies every endpoint once, in the background. Use it on the loop."""

    def __init__(self, engine: Engine, rotation: Rotation) -> None:
        self._engine = engine
        rotation.on_recovery(self.begin_anew)
        self._metering = Metering()
        self._groups: Sequence[Group] = ()
        self._upstreams: dict[int, Upstream] = {}  # by index of the endpoint
        self._endpoints: dict[int, WatchedEndpoint] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._first: dict[int, asyncio.Event] = {}  # it was tried once
        self._identities: dict[str, Identity] = {}  # by URL
        self._reported: dict[int, str] = {}
        self._logged: set[str] = set()
        self._lengths: dict[int, int] = {}  # of models, as reported
        self._lists = self._needs_lengths = False
        self._listing: asyncio.TimerHandle | None = None

    def watch(self, groups: Sequence[Group], config: Config) -> None:
        """Put these endpoints and this metering in force; new endpoints are identified."""
        self._metering, self._groups = config.metering, groups
        self._needs_lengths = caps_to_model(config)
        # The proxy answers the list of models where there are several upstreams or aliases.
        self._lists = len(groups) > 1 or any(
            alias.name != alias.serves for u, _ in groups for alias in u.all_models()
        )
        self._endpoints = {e.index: e for _, endpoints in groups for e in endpoints}
        self._upstreams = {e.index: upstream for upstream, endpoints in groups for e in endpoints}
        for index in set(self._tasks) - set(self._endpoints):
            self._tasks.pop(index).cancel()
            self._first.pop(index)
            self._reported.pop(index, None)
            self._lengths.pop(index, None)
        urls = {e.address.url for e in self._endpoints.values()}
        self._identities = {
            url: identity for url, identity in self._identities.items() if url in urls
        }
        for index, endpoint in self._endpoints.items():
            self._report(endpoint)
            if index not in self._tasks and self._wants_to_know(index):
                self._start(endpoint)
        self._publish_models()

    def begin_anew(self, index: int) -> None:
        """It was out of rotation and is well again: another server may answer there."""
        endpoint = self._endpoints.get(index)
        if endpoint is not None and self._wants_to_know(index):
            if index in self._tasks:
                self._tasks[index].cancel()
            self._start(endpoint)

    async def first_round(self, seconds: float) -> None:
        """Wait until every endpoint was tried once, answered or not, `seconds` at most."""
        waits = [asyncio.ensure_future(event.wait()) for event in self._first.values()]
        if waits:
            _, late = await asyncio.wait(waits, timeout=seconds)
            for wait in late:
                wait.cancel()
        self._publish_models()

    # ------------------------------------------------------------ readers

    def kind_at(self, url: str) -> str:
        """The server by its own answer; "": there is none yet."""
        return self._identities[url].kind if url in self._identities else ""

    def kind_of(self, endpoint: WatchedEndpoint) -> str:
        """The server it is taken for; "": not known."""
        return self._kind(self._upstreams[endpoint.index], endpoint.address.url)

    def _kind(self, upstream: Upstream, url: str) -> str:
        return self.kind_at(url) if upstream.preset in NO_SERVER else upstream.preset

    def usage_request_of(self, upstream: Upstream, url: str) -> str:
        """The usage to ask a new endpoint for."""
        return usage_request_for(self._metering, self._kind(upstream, url))

    @property
    def server_kinds(self) -> dict[str, str]:
        """By URL, of each that has a preset or has answered."""
        return {
            e.address.url: self.kind_of(e)
            for e in self._endpoints.values()
            if e.address.url in self._identities or self.kind_of(e)
        }

    def unknown(self) -> dict[str, str]:
        """By URL: the reason why its server is not known, and the cost of that."""
        return {e.address.url: self._lack(e) for e in self._endpoints.values() if self._lack(e)}

    def _lack(self, endpoint: WatchedEndpoint) -> str:
        identity = self._identities.get(endpoint.address.url)
        if identity is None or self.kind_of(endpoint) or not misses_usage(self._metering):
            return ""
        return f"{identity.why}: {COST}"

    # ------------------------------------------------------------ asking

    def _wants_to_know(self, index: int) -> bool:
        is_usage_wanted = self._metering.inject_usage and self._upstreams[index].preset in NO_SERVER
        return is_usage_wanted or self._lists or self._needs_lengths

    def _start(self, endpoint: WatchedEndpoint) -> None:
        self._first.setdefault(endpoint.index, asyncio.Event())
        self._tasks[endpoint.index] = asyncio.ensure_future(self._identify(endpoint))

    def _report(self, endpoint: WatchedEndpoint) -> None:
        usage_request = usage_request_for(self._metering, self.kind_of(endpoint))
        if self._reported.get(endpoint.index) != usage_request:
            self._reported[endpoint.index] = usage_request
            self._engine.set_endpoint(endpoint.index, usage_request=usage_request)
        length = longest_in(self._answer_of(endpoint))
        if length != self._lengths.get(endpoint.index, 0):
            self._lengths[endpoint.index] = length
            self._engine.set_endpoint(endpoint.index, model_len=length)

    async def _identify(self, endpoint: WatchedEndpoint) -> None:
        backoff = Backoff(RETRY_FIRST, RETRY_LAST)
        index, url = endpoint.index, endpoint.address.url
        while True:
            try:
                identity = await identify(endpoint.address, self._upstreams[index].api_key)
                break
            except (OSError, TimeoutError, aiohttp.ClientError, NotYet):
                self._first[index].set()
            await asyncio.sleep(backoff.pause())
        self._identities[url] = identity
        self._report(endpoint)
        if (lack := self._lack(endpoint)) and url not in self._logged:
            self._logged.add(url)
            log.warning(f"{url}: what server it is is not known, {lack}")
        self._publish_soon()
        self._first[index].set()

    # ------------------------------------------------------------ the list of models

    def _publish_soon(self) -> None:
        if self._listing is None and self._lists:
            self._listing = asyncio.get_running_loop().call_later(LIST_EVERY, self._publish_models)

    def _publish_models(self) -> None:
        if self._listing is not None:
            self._listing.cancel()
            self._listing = None
        self._engine.set_models(self._merged() if self._lists else None)

    def _merged(self) -> bytes:
        return merged(
            (upstream.all_models(), [self._answer_of(e) for e in endpoints])
            for upstream, endpoints in self._groups
        )

    def _answer_of(self, endpoint: WatchedEndpoint) -> Any:
        identity = self._identities.get(endpoint.address.url)
        return identity.answer if identity is not None else None

    async def stop(self) -> None:
        if self._listing is not None:
            self._listing.cancel()
        await cancel(*self._tasks.values())
        self._tasks.clear()
