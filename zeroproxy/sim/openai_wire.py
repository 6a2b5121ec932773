"""Bytes of vLLM's OpenAI frontend: compact JSON, its key order, one event per token.

Events are glued from prepared bytes, not built as dicts: a token costs one small dumps.
"""

from __future__ import annotations

from typing import Any, Protocol

import orjson

from zeroproxy.sim.request_plan import JSON, Ask

DONE = b"data: [DONE]\n\n"
FINGERPRINT = "zeroproxy-sim"
ROLE_TAIL = b',"prompt_token_ids":null,"prompt_text":null'
TOKEN_TAIL = b',"kv_transfer_params":null'
STAMPED_TAIL = b',"system_fingerprint":"' + FINGERPRINT.encode() + b'"' + TOKEN_TAIL


class Shape(Protocol):
    """One answer in one dialect. Each item of a list is written by itself."""

    counts: list[int]  # tokens so far, by choice

    def opening(self) -> list[bytes]: ...

    def token(self, index: int) -> list[bytes]: ...

    def closing(self) -> list[bytes]: ...

    def error(self, message: str, status: int) -> list[bytes]: ...

    def whole(self) -> JSON: ...


def error_body(message: str, status: int, param: str | None = None) -> JSON:
    kinds = {400: "BadRequestError", 404: "NotFoundError", 429: "RateLimitError"}
    kind = kinds.get(status, "InternalServerError" if status >= 500 else "BadRequestError")
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


def usage(prompt: int, completion: int) -> JSON:
    return {
        "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
        "completion_tokens": completion,
    }


def reasoning_so_far(ask: Ask, counts: list[int], index: int) -> int:
    return min(ask.plans[index].reasoning, counts[index])


def total_reasoning(ask: Ask, counts: list[int]) -> int:
    return sum(reasoning_so_far(ask, counts, k) for k in range(len(counts)))


def total_usage(ask: Ask, counts: list[int]) -> JSON:
    """Of the whole request, with the details that the server is configured to report."""
    found = usage(sum(p.tokens for p in ask.prompts), sum(counts))
    if ask.reports_cached:
        # vLLM reports the first prompt's.
        found["prompt_tokens_details"] = {"cached_tokens": ask.prompts[0].cached}
    if any(plan.reasoning for plan in ask.plans):
        found["completion_tokens_details"] = {"reasoning_tokens": total_reasoning(ask, counts)}
    return found


class _OpenAI:
    """The common parts of chat and text completions."""

    prefix = ""
    event_object = ""
    body_object = ""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.counts = [0] * len(ask.plans)
        start = orjson.dumps(self._frame(self.event_object))
        self._head = b"data: " + start[:-1] + b',"choices":['

    def _frame(self, kind: str) -> JSON:
        ask = self.ask
        return {
            "id": self.prefix + ask.id,
            "object": kind,
            "created": ask.created,
            "model": ask.model,
        }

    def _event(self, index: int, choice: bytes, tail: bytes) -> bytes:
        return b'%b{"index":%d,%b}]%b%b}\n\n' % (
            self._head, index, choice, self._running_usage(index), tail,
        )  # fmt: skip

    def _running_usage(self, index: int) -> bytes:
        if not self.ask.wants_continuous:
            return b""
        used = usage(self.ask.prompt_of(index).tokens, self.counts[index])
        return b',"usage":' + orjson.dumps(used)

    def _tail(self, is_last: bool) -> bytes:
        # vLLM stamps the finish chunk only when no usage chunk follows it.
        return STAMPED_TAIL if is_last and not self.ask.wants_usage else TOKEN_TAIL

    def _next_piece(self, index: int) -> tuple[str, str | None]:
        """The text of the choice's next token, and its finish reason if it is the last."""
        plan = self.ask.plans[index]
        piece = plan.pieces[self.counts[index]]
        self.counts[index] += 1
        return piece, plan.finish if self.counts[index] == len(plan.pieces) else None

    def closing(self) -> list[bytes]:
        if not self.ask.wants_usage:
            return [DONE]
        frame = self._frame(self.event_object)
        frame |= {"choices": [], "usage": total_usage(self.ask, self.counts)}
        frame["system_fingerprint"] = FINGERPRINT
        return [b"data: " + orjson.dumps(frame) + b"\n\n", DONE]

    def error(self, message: str, status: int) -> list[bytes]:
        return [b"data: " + orjson.dumps(error_body(message, status)) + b"\n\n", DONE]

    def _body(self, choices: list[JSON]) -> JSON:
        used = total_usage(self.ask, self.counts)
        used.setdefault("prompt_tokens_details", None)
        used.setdefault("completion_tokens_details", None)
        frame = self._frame(self.body_object) | {"choices": choices}
        frame |= {"service_tier": None, "system_fingerprint": FINGERPRINT, "usage": used}
        return frame | {"kv_transfer_params": None}


class TextCompletion(_OpenAI):
    prefix = "cmpl-"
    event_object = body_object = "text_completion"

    def opening(self) -> list[bytes]:
        return []

    def token(self, index: int) -> list[bytes]:
        text, finish = self._next_piece(index)
        choice = (
            b'"text":%b,"logprobs":null,"finish_reason":%b,"stop_reason":null,'
            b'"prompt_token_ids":null,"token_ids":null,"weight_versions":null'
        ) % (orjson.dumps(text), orjson.dumps(finish))
        return [self._event(index, choice, self._tail(finish is not None))]

    def whole(self) -> JSON:
        return self._body(
            [
                {
                    "index": k,
                    "text": "".join(plan.pieces),
                    "logprobs": None,
                    "finish_reason": plan.finish,
                    "stop_reason": None,
                    "token_ids": None,
                    "prompt_logprobs": None,
                }
                for k, plan in enumerate(self.ask.plans)
            ]
        )


class Chat(_OpenAI):
    prefix = "chatcmpl-"
    event_object = "chat.completion.chunk"
    body_object = "chat.completion"

    def opening(self) -> list[bytes]:
        delta = b'"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null'
        return [self._event(k, delta, ROLE_TAIL) for k in range(len(self.counts))]

    def _running_usage(self, index: int) -> bytes:
        found = super()._running_usage(index)
        if not found:
            return b""
        details = None
        if self.ask.plans[index].reasoning:
            details = {"reasoning_tokens": reasoning_so_far(self.ask, self.counts, index)}
        return found[:-1] + b',"completion_tokens_details":' + orjson.dumps(details) + b"}"

    def token(self, index: int) -> list[bytes]:
        at = self.counts[index]
        text, finish = self._next_piece(index)
        end = b'"stop_reason":null,"token_ids":null,"weight_versions":null'
        choice = b'"delta":%b,"logprobs":null,"finish_reason":%b,%b' % (
            self._delta(index, at, text),
            orjson.dumps(finish),
            end if finish else b'"token_ids":null',
        )
        return [self._event(index, choice, self._tail(finish is not None))]

    def _delta(self, index: int, at: int, text: str) -> bytes:
        plan = self.ask.plans[index]
        if not plan.tool:
            key = b"reasoning" if at < plan.reasoning else b"content"
            return b'{"%b":%b}' % (key, orjson.dumps(text))
        if at == 0:
            call = self._call(index) | {"index": 0}
            call["function"] = {"name": plan.tool, "arguments": ""}
            return orjson.dumps({"tool_calls": [call]})
        if not text:
            return b"{}"
        return orjson.dumps({"tool_calls": [{"index": 0, "function": {"arguments": text}}]})

    def _call(self, index: int) -> JSON:
        return {"id": f"chatcmpl-tool-{self.ask.id[:16]}{index}", "type": "function"}

    def _message(self, index: int) -> JSON:
        plan = self.ask.plans[index]
        message: dict[str, Any] = {"role": "assistant"}
        if plan.tool:
            function = {"name": plan.tool, "arguments": "".join(plan.pieces)}
            message["content"] = None
            message["tool_calls"] = [self._call(index) | {"function": function}]
        else:
            message["content"] = "".join(plan.pieces[plan.reasoning :])
        thought = "".join(plan.pieces[: plan.reasoning]) or None
        return message | {"refusal": None, "function_call": None, "reasoning": thought}

    def whole(self) -> JSON:
        return self._body(
            [
                {
                    "index": k,
                    "message": self._message(k),
                    "logprobs": None,
                    "finish_reason": plan.finish,
                    "stop_reason": None,
                    "token_ids": None,
                }
                for k, plan in enumerate(self.ask.plans)
            ]
        )
