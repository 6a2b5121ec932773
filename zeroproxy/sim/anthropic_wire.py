"""Bytes of vLLM's Anthropic frontend: named events, usage at both ends, no [DONE]."""

from __future__ import annotations

import orjson

from zeroproxy.sim.request_plan import JSON, Ask

STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def event(value: JSON) -> bytes:
    return b"event: " + str(value["type"]).encode() + b"\ndata: " + orjson.dumps(value) + b"\n\n"


def error_body(message: str, status: int) -> JSON:
    kinds = {400: "invalid_request_error", 404: "not_found_error", 429: "rate_limit_error"}
    kinds |= {503: "overloaded_error", 529: "overloaded_error"}
    kind = kinds.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": message}}


class Messages:
    """One answer of /v1/messages. Its only choice has one content block."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.counts = [0]

    def _message(self, content: list[JSON], stop: str | None, used: JSON) -> JSON:
        return {
            "id": f"chatcmpl-{self.ask.id}",
            "type": "message",
            "role": "assistant",
            "content": content,
            "model": self.ask.model,
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": used,
        }

    def _usage(self) -> JSON:
        """input_tokens leaves out what cache_read_input_tokens counts."""
        prompt = self.ask.prompts[0]
        used = {"input_tokens": prompt.tokens - prompt.cached, "output_tokens": self.counts[0]}
        if self.ask.reports_cached:
            used["cache_read_input_tokens"] = prompt.cached
        return used

    def _block(self) -> JSON:
        tool = self.ask.plans[0].tool
        if tool:
            return {"type": "tool_use", "id": f"toolu_{self.ask.id}", "name": tool, "input": {}}
        return {"type": "text", "text": ""}

    def opening(self) -> list[bytes]:
        # vLLM's message_start counts the whole prompt; only the end reports the cached part.
        used = {"input_tokens": self.ask.prompts[0].tokens, "output_tokens": 0}
        block = {"type": "content_block_start", "content_block": self._block(), "index": 0}
        start = {"type": "message_start", "message": self._message([], None, used)}
        return [event(start), event(block)]

    def token(self, index: int) -> list[bytes]:
        plan = self.ask.plans[index]
        text = plan.pieces[self.counts[index]]
        self.counts[index] += 1
        if not text:
            return []
        if plan.tool:
            delta = {"type": "input_json_delta", "partial_json": text}
        else:
            delta = {"type": "text_delta", "text": text}
        return [event({"type": "content_block_delta", "delta": delta, "index": 0})]

    def closing(self) -> list[bytes]:
        delta = {"stop_reason": STOPS[self.ask.plans[0].finish], "stop_sequence": None}
        return [
            event({"type": "content_block_stop", "index": 0}),
            event({"type": "message_delta", "delta": delta, "usage": self._usage()}),
            event({"type": "message_stop"}),
        ]

    def error(self, message: str, status: int) -> list[bytes]:
        return [event(error_body(message, status))]

    def whole(self) -> JSON:
        plan = self.ask.plans[0]
        block = self._block()
        if not plan.tool:
            block["text"] = "".join(plan.pieces)
        elif plan.finish == "tool_calls":
            block["input"] = orjson.loads("".join(plan.pieces))
        return self._message([block], STOPS[plan.finish], self._usage())
