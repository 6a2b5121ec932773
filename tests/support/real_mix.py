"""Requests of every kind for real inference servers, sent by the official clients, and the server's
own count of each."""

from __future__ import annotations

import json
import re
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import anthropic
import openai

from tests.support.proxy_process import ProxyProcess
from tests.support.tap import payloads

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
MESSAGES, RESPONSES = "/v1/messages", "/v1/responses"
#: Fields given to a client as arguments, those that it must have; the others it passes on as is.
ARGUMENTS = ("model", "messages", "prompt", "input", "max_tokens", "max_output_tokens", "stream")
WORDS = ("one", "two three", "four five six", "a hat, a bat", "seven", "where is it?")


class Count(NamedTuple):
    prompt: int
    completion: int


@dataclass(frozen=True)
class Ask:
    """One request. `body` is JSON as it is sent; its name is its X-Request-Id."""

    name: str
    path: str
    body: dict[str, Any] = field(hash=False)

    @property
    def streams(self) -> bool:
        return bool(self.body.get("stream"))

    def without(self, *keys: str) -> Ask:
        body = {k: v for k, v in self.body.items() if k not in keys}
        return replace(self, name=f"{self.name}-twin", body=body)

    def with_body(self, **more: Any) -> Ask:
        return replace(self, body={**self.body, **more})


def added_up(counts: list[Count]) -> Count | None:
    """llama.cpp sends each choice's usage in an event of its own."""
    if not counts:
        return None
    return Count(counts[0].prompt, sum(c.completion for c in counts))


def openai_count(usage: Any) -> Count:
    return Count(usage.prompt_tokens, usage.completion_tokens)


def anthropic_count(usage: Any) -> Count:
    cached = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    return Count(usage.input_tokens + cached, usage.output_tokens)


class Callers:
    """The official clients of one server."""

    def __init__(self, url: str) -> None:
        self.openai = openai.OpenAI(
            base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=300
        )
        self.anthropic = anthropic.Anthropic(
            base_url=url, api_key="none", max_retries=0, timeout=300
        )

    def close(self) -> None:
        self.openai.close()
        self.anthropic.close()

    def __enter__(self) -> Callers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, ask: Ask) -> Any:
        """The answer as the client parses it: an object, or a stream of events."""
        create = {
            CHAT: self.openai.chat.completions.create,
            COMPLETIONS: self.openai.completions.create,
            RESPONSES: self.openai.responses.create,
            MESSAGES: self.anthropic.messages.create,
        }[ask.path]
        known = {k: v for k, v in ask.body.items() if k in ARGUMENTS}
        more = {k: v for k, v in ask.body.items() if k not in ARGUMENTS}
        return create(**known, extra_body=more, extra_headers={"X-Request-Id": ask.name})

    def counted(self, ask: Ask) -> Count | None:
        """Send it, read it to the end, and return the usage that the caller received."""
        answer = self.send(ask)
        if ask.path == MESSAGES:
            return anthropic_streamed(answer) if ask.streams else anthropic_count(answer.usage)
        if ask.path == RESPONSES:
            last = list(answer)[-1].response if ask.streams else answer
            return Count(last.usage.input_tokens, last.usage.output_tokens)
        if not ask.streams:
            return openai_count(answer.usage)
        return openai_streamed(ask, answer)


def openai_streamed(ask: Ask, events: Any) -> Count | None:
    used = [(len(e.choices), openai_count(e.usage)) for e in events if e.usage]
    whole = [count for n_choices, count in used if n_choices == 0]
    return added_up(whole or ([] if wants(ask, "continuous_usage_stats") else [c for _, c in used]))


def anthropic_streamed(events: Any) -> Count:
    prompt = completion = 0
    for event in events:
        if event.type == "message_start":
            prompt = anthropic_count(event.message.usage).prompt
        elif event.type == "message_delta":
            completion = event.usage.output_tokens
    return Count(prompt, completion)


def wants(ask: Ask, option: str) -> bool:
    return bool((ask.body.get("stream_options") or {}).get(option))


def rows(proxy: ProxyProcess, names: set[str]) -> dict[str, dict[str, Any]]:
    """The ledger's rows by request id, once these are in it."""
    found: dict[str, dict[str, Any]] = {}

    def are_there(_: object) -> bool:
        with closing(sqlite3.connect(proxy.ledger)) as db:
            db.row_factory = sqlite3.Row
            found.update((r["request_id"], dict(r)) for r in db.execute("SELECT * FROM exchange"))
        return names <= set(found)

    proxy.until(are_there)
    return {name: found[name] for name in names}


def count_in(row: dict[str, Any]) -> Count:
    return Count(row["prompt_tokens"], row["completion_tokens"])


def raw(url: str, ask: Ask) -> bytes:
    """The body of the answer, byte by byte."""
    head = {"Content-Type": "application/json", "X-Request-Id": ask.name}
    request = urllib.request.Request(url + ask.path, json.dumps(ask.body).encode(), head)
    with urllib.request.urlopen(request, timeout=300) as response:
        return bytes(response.read())


def served(url: str, ask: Ask) -> bool:
    """True if the server takes such a request at all."""
    try:
        raw(url, ask)
    except urllib.error.HTTPError:
        return False
    return True


def shape(value: Any, key: str = "") -> Any:
    """The shape of an answer: the keys of objects, and the types of all else."""
    if key in ("logprobs", "top_logprobs"):
        return value is not None
    if isinstance(value, dict):
        return {k: shape(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [shape(v) for v in value[:1]]
    return value if key in ("index", "role", "type", "finish_reason") else type(value).__name__


class Seen(NamedTuple):
    """An answer as a caller sees it, without the parts that differ between two answers. Those are
    names, times, the order of choices and the tokens of an event."""

    texts: dict[int, str]
    shapes: dict[int, list[str]]  # in order; several of the same kind in a row are one
    end: list[bytes]  # what is no JSON, and lines that are none of an event's


def text_in(choice: dict[str, Any]) -> str:
    said = choice.get("delta") or choice.get("message") or {}
    calls = [c["function"].get("arguments") or "" for c in said.get("tool_calls") or ()]
    return "".join([choice.get("text") or "", said.get("content") or "", *calls])


def seen(body: bytes) -> Seen:
    """Events are known by their choice, those without one by -1."""
    texts: dict[int, str] = {}
    shapes: dict[int, list[str]] = {}
    for event in payloads(body) or [json.loads(body)]:
        for choice in event.get("choices") or [{}]:
            index = choice.get("index", -1)
            form = json.dumps(shape({**event, "choices": [choice]}))
            texts[index] = texts.get(index, "") + text_in(choice) + str(event.get("delta", ""))
            if shapes.setdefault(index, [""])[-1] != form:
                shapes[index].append(form)
    others = re.findall(rb"^(?!data: {).+$", body, re.M) if b"data: " in body else []
    return Seen(texts, shapes, others)


def stripped(body: bytes, *, closing: bool, running: bool) -> bytes:
    """Those events without their usage, the slow way: what the proxy should send on."""
    kept = []
    for event in body.split(b"\n\n"):
        value = json.loads(event[6:]) if event.startswith(b"data: {") else {}
        if value.get("usage") and not value["choices"] and closing:
            continue
        if value.get("usage") and value["choices"] and running:
            event = re.sub(rb',"usage":{[^{}]*({[^{}]*}[^{}]*)*}', b"", event)
        kept.append(event)
    return b"\n\n".join(kept)


def usages(body: bytes) -> Iterator[tuple[bool, dict[str, Any]]]:
    """(whether it stands beside choices, usage) of each event that has one."""
    for event in payloads(body):
        if event.get("usage"):
            yield bool(event["choices"]), event["usage"]
