"""Callers that keep their connection, note every byte of an answer, and leave on command."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any

import httptools
import orjson

from tests.support.asks import Ask

READ = 1 << 16
#: The first bytes of the last event of a stream, by dialect.
LAST = {"messages": b"event: message_stop"}


class Answer:
    """An answer as its caller saw it. httptools calls the on_ methods."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.status = 0
        self.body = bytearray()
        self.is_whole = False
        self.keeps = False
        self.parser = httptools.HttpResponseParser(self)

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.is_whole = True
        self.keeps = self.parser.should_keep_alive()

    def is_enough(self) -> bool:
        """True if a caller that leaves early leaves now."""
        if self.ask.leaves == "in the answer":
            return self.body.count(b"\n\n") >= self.ask.after
        last = LAST.get(self.ask.kind, b"data: [DONE]")
        return self.ask.leaves == "at the end" and last in self.body

    # ------------------------------------------------------------ contents

    def events(self) -> list[dict[str, Any]]:
        """The JSON of each event that arrived whole."""
        parts = bytes(self.body).split(b"\n\n")[:-1]
        data = [part.rpartition(b"data: ")[2] for part in parts]
        return [orjson.loads(one) for one in data if one != b"[DONE]"]

    def tokens(self) -> int:
        """Completion tokens that were seen for certain."""
        if not self.ask.streams:
            return self.usage().get("completion_tokens", 0) if self.is_whole else 0
        return sum(map(has_token, self.events()))

    def usage(self) -> dict[str, int]:
        """The usage at the end of the answer, with the names of OpenAI; empty: there is none."""
        if self.status != 200 or not self.body:
            return {}
        said = self.events() if self.ask.streams else [orjson.loads(self.body)]
        found: dict[str, int] = next((e["usage"] for e in reversed(said) if e.get("usage")), {})
        if "output_tokens" in found:
            cached = found.get("cache_read_input_tokens", 0)
            return {
                "prompt_tokens": found["input_tokens"] + cached,
                "completion_tokens": found["output_tokens"],
            }
        return dict(found)


def has_token(event: dict[str, Any]) -> bool:
    if event.get("type") == "content_block_delta":
        return True
    choices: list[dict[str, Any]] = event.get("choices") or []
    return bool(choices) and "role" not in choices[0].get("delta", ())


class Caller:
    """One at a time, on one connection that is opened anew where it was lost."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, ask: Ask) -> Answer:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        answer = Answer(ask)
        said = ask.as_bytes()
        if ask.leaves == "in the request":
            said = said[: len(said) - ask.after * 20]
        self._writer.write(said)
        if ask.leaves in ("in the request", "before the head"):
            await self.close()
            return answer
        await self._read(answer)
        if not answer.is_whole and ask.leaves:
            self._writer.transport.abort()
        if not answer.keeps:
            await self.close()
        return answer

    async def _read(self, answer: Answer) -> None:
        while not answer.is_whole and not answer.is_enough():
            try:
                data = await self._reader.read(READ)
            except ConnectionResetError:
                return
            if not data:
                return
            answer.parser.feed_data(data)

    async def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


class Crowd:
    """`callers` at once, until nothing is left to ask or the proxy is gone."""

    def __init__(self, port: int, asks: Iterable[Ask], callers: int) -> None:
        self._port, self._left, self._n = port, iter(asks), callers
        self.begun: list[Ask] = []
        self.answers: list[Answer] = []

    async def run(self) -> None:
        await asyncio.gather(*(self._call() for _ in range(self._n)))

    async def _call(self) -> None:
        caller = Caller(self._port)
        for ask in self._left:
            self.begun.append(ask)
            try:
                self.answers.append(await caller.ask(ask))
            except OSError:
                self.answers.append(Answer(ask))
                break
        await caller.close()
