"""Prompts of a request, counted, and the answers that will be given.

A token is a word. The same prompt always gives the same text and, without max_tokens, the same
length; with max_tokens an answer is exactly that long.
"""

from __future__ import annotations

import time
import uuid
import zlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import orjson

from zeroproxy.sim.options import SimOptions

JSON = dict[str, Any]
TEXT = (
    "the sidecar hears each token leave the engine and passes it on before the next one has been "
    "thought of so nobody waits for anybody else and every count from Zürich to 東京 is right to "
    "the last byte"
)
TEXT_TOKENS = TEXT.split()
HOSTILE = [
    '"usage":{"prompt_tokens":777,"completion_tokens":999,"total_tokens":1776}',
    "data: [DONE]\n\n",
    '\n\ndata: {"choices":[],"usage":{"completion_tokens":888}}\n\n',
    '\\"usage\\":{',
    "event: error\r\n\r\n",
    "\u2028{]}",
]
BLOCK = 16  # tokens per block of the prefix cache, as vLLM's default
BLOCKS = 65536
CHOICES = 128  # most choices of one request


class RequestError(Exception):
    """A request that is refused; the wire shape is the route's business."""

    def __init__(self, message: str, status: int = 400, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param


@dataclass(slots=True)
class Prompt:
    tokens: int
    cached: int
    seed: int


@dataclass(slots=True)
class Plan:
    """One choice of the answer, token by token. A plan that stops by itself ends in the token
    that means the end, which is counted and has no text."""

    pieces: list[str]
    finish: str  # stop | length | tool_calls
    tool: str = ""  # its name; pieces[0] stands for it, the others are the arguments
    reasoning: int = 0  # so many pieces at the start


@dataclass
class Ask:
    kind: str  # chat | text | messages
    model: str
    text: str  # how the last prompt or message begins
    prompts: list[Prompt]
    plans: list[Plan]  # choice k of prompt p stands at p * n + k
    n: int = 1
    streams: bool = False
    wants_usage: bool = False
    wants_continuous: bool = False
    reports_cached: bool = False
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    def prompt_of(self, index: int) -> Prompt:
        return self.prompts[index // self.n]


class PrefixCache:
    """Which beginnings of prompts were seen: chained hashes of whole blocks, oldest out first."""

    def __init__(self) -> None:
        self._seen: OrderedDict[int, None] = OrderedDict()

    def match(self, tokens: list[str]) -> int:
        """Tokens of the longest known beginning; the whole prompt is known from now on."""
        chain, cached, hits = 0, 0, True
        for at in range(0, len(tokens) - BLOCK + 1, BLOCK):
            chain = zlib.crc32("\0".join(tokens[at : at + BLOCK]).encode(), chain)
            hits = hits and chain in self._seen
            cached += BLOCK if hits else 0
            self._seen[chain] = None
            self._seen.move_to_end(chain)
        while len(self._seen) > BLOCKS:
            self._seen.popitem(last=False)
        return cached


def text_of(content: Any) -> str:
    """The text of a message: a string, or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return " ".join(text_of(p.get("text", "") if isinstance(p, dict) else p) for p in content)
    return ""


def texts_of(kind: str, body: JSON) -> list[str]:
    """The prompts of a request as text; prompts given as token ids become words."""
    if kind == "text":
        prompt = body.get("prompt", body.get("input"))
        if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
            return [one_prompt(p) for p in prompt]
        return [one_prompt(prompt)]
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RequestError("messages must be a list that is not empty", param="messages")
    if not all(isinstance(m, dict) for m in messages):
        raise RequestError("a message must be an object", param="messages")
    parts = [text_of(body.get("system")), *(text_of(m.get("content")) for m in messages)]
    return ["\n".join(p for p in parts if p)]


def one_prompt(prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list) and all(isinstance(t, int) for t in prompt):
        return " ".join(map(str, prompt))
    raise RequestError("a prompt must be text or token ids", param="prompt")


def plan_text(seed: int, limit: int | None, options: SimOptions) -> Plan:
    tokens = TEXT_TOKENS + HOSTILE if options.hostile else TEXT_TOKENS
    span = options.max_length - options.min_length + 1
    total = limit or options.min_length + seed % span
    # Separators that JSON leaves alone, so that the pieces joined are the text.
    pieces = [tokens[(seed + k) % len(tokens)] for k in range(total)]
    pieces[1:] = [f" {p}" for p in pieces[1:]]
    if limit is not None:
        return Plan(pieces, "length")
    pieces[-1] = ""
    return Plan(pieces, "stop")


def sample_of(schema: Any, seed: int) -> Any:
    """A value that fits a JSON schema, as far as its types and required keys go."""
    if not isinstance(schema, dict):
        return TEXT_TOKENS[seed % len(TEXT_TOKENS)]
    if schema.get("enum"):
        return schema["enum"][seed % len(schema["enum"])]
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if kind == "object":
        properties = schema.get("properties", {})
        keys = schema.get("required", list(properties))
        return {k: sample_of(properties.get(k), seed + i) for i, k in enumerate(keys)}
    if kind == "array":
        return [sample_of(schema.get("items"), seed)]
    plain = {"integer": seed % 100, "number": seed % 100 / 4, "boolean": bool(seed % 2)}
    return plain.get(kind, TEXT_TOKENS[seed % len(TEXT_TOKENS)])


def plan_tool(tool: tuple[str, Any], seed: int, limit: int | None) -> Plan:
    """A call of `tool`: its name, then the arguments in pieces of a few characters."""
    name, schema = tool
    arguments = orjson.dumps(sample_of(schema, seed)).decode()
    if not arguments.startswith("{"):
        arguments = "{}"
    pieces = ["", *(arguments[k : k + 6] for k in range(0, len(arguments), 6)), ""]
    if limit is not None and limit < len(pieces):
        return Plan(pieces[:limit], "length", tool=name)
    return Plan(pieces, "tool_calls", tool=name)


def requested_tool(body: JSON) -> tuple[str, Any] | None:
    """Name and parameters of the tool that tool_choice insists on, in either dialect."""
    choice, tools = body.get("tool_choice"), body.get("tools")
    if not tools or choice in (None, "none", "auto"):
        return None
    if isinstance(choice, dict) and choice.get("type") in ("auto", "none"):
        return None
    found = [t.get("function", t) for t in tools]
    if isinstance(choice, dict):
        wanted = choice.get("name") or (choice.get("function") or {}).get("name")
        found = [t for t in found if wanted in (None, t.get("name"))]
    if not found:
        raise RequestError("tool_choice names a tool that is not in tools", param="tool_choice")
    return found[0]["name"], found[0].get("parameters", found[0].get("input_schema"))


def whole_number(body: JSON, *names: str) -> int | None:
    for name in names:
        value = body.get(name)
        if value is not None:
            if not isinstance(value, int) or value < 1:
                raise RequestError(f"{name} must be at least 1, got {value}", param=name)
            return value
    return None


def count_prompts(texts: list[str], cache: PrefixCache | None, limit: int) -> list[Prompt]:
    prompts = []
    for text in texts:
        tokens = text.split()
        if len(tokens) > limit:
            raise RequestError(
                f"This model's maximum context length is {limit} tokens. However, your request "
                f"has {len(tokens)} input tokens.",
                param="input_tokens",
            )
        cached = cache.match(tokens) if cache else 0
        prompts.append(Prompt(len(tokens), cached, zlib.crc32(text.encode())))
    return prompts


def read_request(kind: str, body: JSON, options: SimOptions, cache: PrefixCache | None) -> Ask:
    """The request as the engine sees it. Raises RequestError."""
    model = body.get("model") or next(iter(options.models), "")
    if options.models and model not in options.models:
        raise RequestError(f"The model `{model}` does not exist.", 404, "model")
    more = body.get("stream_options")
    if more is not None and not body.get("stream"):
        raise RequestError("Stream options can only be defined when `stream=True`.", 400, "stream")
    n = (kind != "messages" and whole_number(body, "n")) or 1
    if n > CHOICES:
        raise RequestError(f"n must be at most {CHOICES}", param="n")
    limit = whole_number(body, "max_completion_tokens", "max_tokens")
    texts = texts_of(kind, body)
    prompts = count_prompts(texts, cache, options.max_model_len)
    tool = requested_tool(body) if kind != "text" else None
    plans = []
    for seed in (p.seed + 7 * k for p in prompts for k in range(n)):
        plan = plan_tool(tool, seed, limit) if tool else plan_text(seed, limit, options)
        if kind == "chat" and not tool:
            plan.reasoning = min(options.reasoning_tokens, len(plan.pieces) - 1)
        plans.append(plan)
    last = texts[-1] if kind == "text" else text_of(body["messages"][-1].get("content"))
    ask = Ask(kind, model, last[:100], prompts, plans, n, bool(body.get("stream")))
    ask.wants_usage = bool((more or {}).get("include_usage"))
    ask.wants_continuous = ask.wants_usage and bool((more or {}).get("continuous_usage_stats"))
    ask.reports_cached = cache is not None
    return ask
