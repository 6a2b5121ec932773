"""Shapes of requests and answers: chat and text completions of OpenAI, messages of
Anthropic. A dialect reads one event's data, or one whole JSON answer, into a `Reading`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

JSON = dict[str, Any]
DONE = b"[DONE]"
#: Any of these in a delta is something the caller sees, or will once it is put together.
SEEN = ("content", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call")


@dataclass(slots=True)
class Reading:
    """The part of an answer that was read so far."""

    texts: int = 0  # events that carried text
    prompt: int | None = None  # tokens, by the server's own usage
    tokens: int | None = None
    is_done: bool = False  # the dialect's last event was there
    error: str = ""


@dataclass(frozen=True)
class Ask:
    """The parts that all requests of a run have in common."""

    model: str
    prompt: str  # {n} in it becomes the number of the request
    max_tokens: int
    streams: bool = True
    wants_usage: bool = True


def error_text(parsed: Any) -> str:
    """Message of an error object, which comes in several shapes."""
    if isinstance(parsed, dict):
        inner = parsed.get("error", parsed.get("detail", parsed.get("message", parsed)))
        return error_text(inner) if inner is not parsed else orjson.dumps(parsed).decode()
    return parsed if isinstance(parsed, str) else orjson.dumps(parsed).decode()


class Chat:
    """POST /v1/chat/completions"""

    def body(self, ask: Ask, number: int) -> JSON:
        found: JSON = {"model": ask.model, "max_tokens": ask.max_tokens, "stream": ask.streams}
        found |= self.prompt(ask.prompt.replace("{n}", str(number)))
        if ask.streams and ask.wants_usage:
            found["stream_options"] = {"include_usage": True}
        return found

    def prompt(self, text: str) -> JSON:
        return {"messages": [{"role": "user", "content": text}]}

    def has_text(self, choice: JSON) -> bool:
        message = choice.get("delta") or choice.get("message") or {}
        return any(message.get(name) for name in SEEN)

    def read(self, data: bytes, reading: Reading) -> None:
        """Raises ValueError for what is no JSON object."""
        if data == DONE:
            reading.is_done = True
            return
        parsed = orjson.loads(data)
        if not isinstance(parsed, dict):
            raise ValueError("not an object")
        if parsed.get("error"):
            reading.error = error_text(parsed)
        if any(map(self.has_text, parsed.get("choices") or ())):
            reading.texts += 1
        if usage := parsed.get("usage"):
            reading.prompt = usage.get("prompt_tokens")
            reading.tokens = usage.get("completion_tokens")

    def read_whole(self, data: bytes, reading: Reading) -> None:
        self.read(data, reading)
        reading.is_done = reading.texts > 0


class Text(Chat):
    """POST /v1/completions"""

    def prompt(self, text: str) -> JSON:
        return {"prompt": text}

    def has_text(self, choice: JSON) -> bool:
        return bool(choice.get("text"))


class Messages(Chat):
    """POST /v1/messages"""

    def body(self, ask: Ask, number: int) -> JSON:
        found = super().body(ask, number)
        found.pop("stream_options", None)
        return found

    def read(self, data: bytes, reading: Reading) -> None:
        parsed = orjson.loads(data)
        kind = parsed["type"] if isinstance(parsed, dict) and "type" in parsed else ""
        if kind == "error":
            reading.error = error_text(parsed)
        elif kind == "content_block_delta":
            reading.texts += 1
        elif kind == "message_start":
            reading.prompt = parsed["message"].get("usage", {}).get("input_tokens")
        elif kind == "message_delta":
            reading.tokens = parsed.get("usage", {}).get("output_tokens", reading.tokens)
        elif kind == "message_stop":
            reading.is_done = True
        elif not kind:
            raise ValueError("an event without a type")

    def read_whole(self, data: bytes, reading: Reading) -> None:
        parsed = orjson.loads(data)
        if not isinstance(parsed, dict):
            raise ValueError("not an object")
        if parsed.get("type") == "error":
            reading.error = error_text(parsed)
        usage = parsed.get("usage") or {}
        reading.prompt, reading.tokens = usage.get("input_tokens"), usage.get("output_tokens")
        reading.texts = 1 if parsed.get("content") else 0
        reading.is_done = reading.texts > 0


#: By how a path ends; the first that fits.
DIALECTS: dict[str, Chat] = {
    "/chat/completions": Chat(),
    "/completions": Text(),
    "/messages": Messages(),
}


def dialect_of(path: str) -> Chat | None:
    """None: it speaks none that is known here."""
    bare = path.partition("?")[0].rstrip("/")
    return next((d for end, d in DIALECTS.items() if bare.endswith(end)), None)


class Events:
    """Cuts an event stream into the data of its events, in any split."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The data of every event that is complete, where it has any."""
        data = self.rest + data
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        *blocks, self.rest = data.split(b"\n\n")
        return [found for block in blocks if (found := data_of(block)) is not None]


def data_of(block: bytes) -> bytes | None:
    """The data of one event: its `data:` lines, joined."""
    if block.startswith(b"data:") and b"\n" not in block:
        return block[5:].strip()
    found = [line[5:] for line in block.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(line.removeprefix(b" ") for line in found) if found else None
