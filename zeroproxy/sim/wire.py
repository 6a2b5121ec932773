"""What vLLM's OpenAI and Anthropic frontends put on the wire: compact JSON, their key order."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import orjson

JSON = dict[str, Any]


def sse(value: JSON) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def named_sse(value: JSON) -> bytes:
    return b"event: " + str(value["type"]).encode() + b"\ndata: " + orjson.dumps(value) + b"\n\n"


DONE = b"data: [DONE]\n\n"


def usage(prompt: int, completion: int) -> JSON:
    return {
        "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
        "completion_tokens": completion,
    }


def error(message: str, status: int, kind: str = "BadRequestError") -> JSON:
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


@dataclass
class OpenAI:
    """Chunks and bodies of one chat or text completion."""

    model: str
    is_chat: bool
    wants_usage: bool = False
    wants_continuous: bool = False
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    def _frame(self, choices: list[JSON], stream: bool) -> JSON:
        prefix = "chatcmpl-" if self.is_chat else "cmpl-"
        kind = "chat.completion" if self.is_chat else "text_completion"
        if stream and self.is_chat:
            kind += ".chunk"
        return {
            "id": prefix + self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }

    def role_chunk(self, index: int, prompt: int) -> bytes:
        choice = {
            "index": index,
            "delta": {"role": "assistant", "content": ""},
            "logprobs": None,
            "finish_reason": None,
        }
        return self._send(choice, prompt, 0)

    def token_chunk(
        self, index: int, text: str, finish: str | None, counts: tuple[int, int]
    ) -> bytes:
        choice: JSON = {"index": index}
        if self.is_chat:
            choice["delta"] = {"content": text}
        else:
            choice["text"] = text
        choice |= {"logprobs": None, "finish_reason": finish}
        return self._send(choice, *counts)

    def _send(self, choice: JSON, prompt: int, completion: int) -> bytes:
        frame = self._frame([choice], stream=True)
        if self.wants_usage and self.wants_continuous:
            frame["usage"] = usage(prompt, completion)
        return sse(frame)

    def end(self, prompt: int, completion: int) -> bytes:
        tail = b""
        if self.wants_usage:
            frame = self._frame([], stream=True)
            frame["usage"] = usage(prompt, completion)
            tail = sse(frame)
        return tail + DONE

    def body(self, texts: list[str], prompt: int, completion: int) -> JSON:
        choices: list[JSON] = []
        for index, text in enumerate(texts):
            choice: JSON = {"index": index}
            if self.is_chat:
                choice["message"] = {"role": "assistant", "content": text}
            else:
                choice["text"] = text
            choices.append(choice | {"logprobs": None, "finish_reason": "length"})
        return self._frame(choices, stream=False) | {"usage": usage(prompt, completion)}

    def tool_body(self, tool: JSON, prompt: int, completion: int) -> JSON:
        call = {
            "id": f"call-{self.id[:8]}",
            "type": "function",
            "function": {"name": tool["function"]["name"], "arguments": "{}"},
        }
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls"}
        return self._frame([choice], stream=False) | {"usage": usage(prompt, completion)}


@dataclass
class Anthropic:
    """Events and bodies of /v1/messages."""

    model: str
    id: str = field(default_factory=lambda: f"msg_{uuid.uuid4().hex}")

    def _message(self, content: list[JSON], stop: str | None, used: JSON) -> JSON:
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "content": content,
            "model": self.model,
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": used,
        }

    def begin(self, prompt: int) -> bytes:
        message = self._message([], None, {"input_tokens": prompt, "output_tokens": 0})
        block = {"type": "text", "text": ""}
        return named_sse({"type": "message_start", "message": message}) + named_sse(
            {"type": "content_block_start", "index": 0, "content_block": block}
        )

    def token(self, text: str) -> bytes:
        delta = {"type": "text_delta", "text": text}
        return named_sse({"type": "content_block_delta", "index": 0, "delta": delta})

    def end(self, prompt: int, completion: int) -> bytes:
        delta = {"stop_reason": "max_tokens", "stop_sequence": None}
        used = {"input_tokens": prompt, "output_tokens": completion}
        return (
            named_sse({"type": "content_block_stop", "index": 0})
            + named_sse({"type": "message_delta", "delta": delta, "usage": used})
            + named_sse({"type": "message_stop"})
        )

    def body(self, text: str, prompt: int, completion: int) -> JSON:
        used = {"input_tokens": prompt, "output_tokens": completion}
        return self._message([{"type": "text", "text": text}], "max_tokens", used)
