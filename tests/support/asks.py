"""Requests drawn by a seed, of every kind the simulator has, and the ways callers leave.

The model decides how a request is to end, so that sums by model can be held to equality. Answers
of WHOLE models are read to their end; those of TORN ones are aborted, or fail.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

WHOLE = ("whole-a", "whole-b", "whole-c", "whole-embed")
TORN = ("torn-a", "torn-b")
PATHS = {
    "chat": "/v1/chat/completions",
    "text": "/v1/completions",
    "messages": "/v1/messages",
    "embeddings": "/v1/embeddings",
}
#: Ways a caller leaves. "in the request": it sends only half of it. "before the head": it closes
#: after the request. "in the answer", "at the end": behind some event, behind the last event.
LEAVES = ("in the request", "before the head", "in the answer", "in the answer", "at the end")
FAULTS = (
    "status=500", "status=429", "close-head", "reset-head", "half-head", "garbage-head", "cut=3",
    "cut-mid-event=2", "clean-cut=4", "error-event=3", "clean-cut=0", "slow-head=0.01",
)  # fmt: skip
#: Those after which the proxy has seen all that was written.
CLEAN = ("clean-cut", "error-event")
USAGE: tuple[dict[str, Any] | None, ...] = (
    None, None, None, {}, {"include_usage": False}, {"include_usage": True},
    {"include_usage": True, "continuous_usage_stats": True},
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ask:
    id: str
    kind: str
    model: str
    body: bytes
    streams: bool = False
    wants_usage: bool = False
    fault: str = ""
    leaves: str = ""  # one of LEAVES; "": it stays to the end
    after: int = 0  # "in the answer": events it waits for

    @property
    def is_whole(self) -> bool:
        return self.model in WHOLE

    def as_bytes(self) -> bytes:
        fault = f"x-sim-fault: {self.fault}\r\n" if self.fault else ""
        head = (
            f"POST {PATHS[self.kind]} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
            f"X-Request-Id: {self.id}\r\n{fault}Content-Length: {len(self.body)}\r\n\r\n"
        )
        return head.encode() + self.body


def words(random: random.Random) -> str:
    """Few beginnings, so that the simulator's prefix cache hits."""
    start = ("the quick fox ", "you are an assistant ", "a b c ")[random.randrange(3)] * 8
    return start + " ".join(f"w{random.randrange(1000)}" for _ in range(random.randrange(1, 9)))


def body_of(kind: str, random: random.Random) -> dict[str, Any]:
    if kind == "embeddings":
        return {"input": [words(random) for _ in range(random.randrange(1, 4))]}
    if kind == "messages":
        return {"messages": [{"role": "user", "content": words(random)}]}
    body: dict[str, Any] = {"n": random.randrange(1, 4)} if random.random() < 0.4 else {}
    if kind == "chat":
        return body | {"messages": [{"role": "user", "content": words(random)}]}
    if random.random() < 0.3:
        return body | {"prompt": [words(random), words(random)]}
    return body | {"prompt": words(random)}


def ending_of(random: random.Random, share: float) -> dict[str, Any]:
    """A share of the callers leaves early, half as many get a fault."""
    drawn = random.random()
    if drawn < share:
        return {"leaves": random.choice(LEAVES), "after": random.randrange(1, 12)}
    return {"fault": random.choice(FAULTS)} if drawn < 1.5 * share else {}


def one(name: str, random: random.Random, share: float) -> Ask:
    kind = random.choices(("chat", "text", "messages", "embeddings"), (50, 20, 20, 10))[0]
    ending = ending_of(random, share) if kind != "embeddings" else {}
    model = random.choice(TORN) if ending else random.choice(WHOLE[:3])
    if kind == "embeddings":
        model = "whole-embed"
    body = {"model": model, **body_of(kind, random)}
    streams, usage = kind != "embeddings" and random.random() < 0.7, None
    if kind != "embeddings" and (kind == "messages" or random.random() < 0.8):
        body["max_tokens"] = random.randrange(15, 40) if ending else random.randrange(1, 7)
    if streams:
        body["stream"] = True
        usage = random.choice(USAGE) if kind != "messages" else None
        if usage is not None:
            body["stream_options"] = usage
    asks_usage = kind == "messages" or not streams or bool((usage or {}).get("include_usage"))
    return Ask(name, kind, model, orjson.dumps(body), streams, asks_usage, **ending)


def draw(n: int, seed: int, share: float = 0.2) -> Iterator[Ask]:
    source = random.Random(seed)
    return (one(f"ask-{seed}-{k}", source, share) for k in range(n))


def long_streams(n: int, tokens: int) -> list[Ask]:
    body = {"model": WHOLE[0], "stream": True, "max_tokens": tokens}
    body["messages"] = [{"role": "user", "content": "to the end"}]
    return [Ask(f"long-{k}", "chat", WHOLE[0], orjson.dumps(body), True) for k in range(n)]
