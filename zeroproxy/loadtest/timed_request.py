"""One request and its answer, timed; whatever can go wrong gets a name."""

from __future__ import annotations

import time
from dataclasses import dataclass

import aiohttp
import orjson

from zeroproxy.errors import one_line
from zeroproxy.loadtest.dialects import Ask, Chat, Events, Reading, error_text
from zeroproxy.loadtest.tally import Tally

SAID_MOST = 200  # characters of what a server said that are kept
BODY_MOST = 4096  # bytes of an error's body that are read


@dataclass(frozen=True)
class Target:
    """Where requests go. The key is never shown and never written."""

    name: str  # as the user wrote it
    url: str
    dialect: Chat
    headers: dict[str, str]


class Failure(Exception):
    """`kind` is counted, what it says is shown once per kind."""

    def __init__(self, kind: str, said: str = "") -> None:
        super().__init__(said)
        self.kind, self.said = kind, one_line(said.strip())[:SAID_MOST]


def says(body: bytes) -> str:
    """An error's body in words."""
    try:
        return error_text(orjson.loads(body))
    except ValueError:
        return body.decode(errors="replace")


class Exchange:
    """Law: an exchange is counted exactly once, by `run`, as answered, failed or abandoned.
    Tests: tests/e2e/test_bench_command.py.
    """

    def __init__(self, target: Target, ask: Ask, tally: Tally) -> None:
        self.target, self.ask, self.tally = target, ask, tally
        self.reading = Reading()
        self.has_head = False
        self.begun = self.first = self.last = 0.0

    async def run(self, session: aiohttp.ClientSession, number: int) -> bool:
        """True if it was answered to the right ending."""
        body = orjson.dumps(self.target.dialect.body(self.ask, number))
        self.tally.sent += 1
        self.begun = time.perf_counter()
        try:
            await self._ask(session, body)
        except Failure as failure:
            self.tally.fail(failure.kind, failure.said)
        except TimeoutError as error:
            self.tally.fail("timeout", str(error))
        except aiohttp.ClientConnectorError as error:
            self.tally.fail("connect", str(error))
        except aiohttp.ClientResponseError as error:
            self.tally.fail("no HTTP", error.message)
        except (aiohttp.ClientError, OSError) as error:
            self.tally.fail("cut" if self.has_head else "unanswered", str(error))
        except BaseException:  # cancelled: the second Ctrl-C
            self.tally.abandoned += 1
            raise
        else:
            self._settle()
            return True
        return False

    async def _ask(self, session: aiohttp.ClientSession, body: bytes) -> None:
        target = self.target
        async with session.post(target.url, data=body, headers=target.headers) as response:
            self.has_head = True
            if response.status != 200:
                said = await response.content.read(BODY_MOST)
                raise Failure(f"status {response.status}", says(said))
            if self.ask.streams:
                await self._read_events(response)
            else:
                await self._read_whole(response)
        if self.reading.error:
            raise Failure("error event" if self.ask.streams else "error", self.reading.error)
        if not self.reading.is_done:
            raise Failure("wrong ending", "it ended well as HTTP, but its last event is missing")

    async def _read_events(self, response: aiohttp.ClientResponse) -> None:
        if response.content_type != "text/event-stream":
            raise Failure("no events", f"Content-Type {response.content_type}")
        events, reading, read = Events(), self.reading, self.target.dialect.read
        async for data in response.content.iter_any():
            now, before = time.perf_counter(), reading.texts
            for event in events.feed(data):
                try:
                    read(event, reading)
                except (ValueError, AttributeError, TypeError, KeyError):
                    raise Failure("malformed", event.decode(errors="replace")) from None
            if reading.texts != before:
                self._texts(now, reading.texts - before)

    async def _read_whole(self, response: aiohttp.ClientResponse) -> None:
        data = await response.read()
        self.last = time.perf_counter()
        try:
            self.target.dialect.read_whole(data, self.reading)
        except (ValueError, AttributeError, TypeError, KeyError):
            raise Failure("malformed", data.decode(errors="replace")) from None

    def _texts(self, now: float, n: int) -> None:
        """`n` events with text came in one read: only the first of them was waited for."""
        tally = self.tally
        tally.texts += n
        if self.last:
            tally.times["gap"].add(now - self.last)
        else:
            self.first = now
            tally.times["ttft"].add(now - self.begun)
        if n > 1:
            tally.times["gap"].add(0.0, n - 1)
        self.last = now

    def _settle(self) -> None:
        tally, reading = self.tally, self.reading
        tally.answered += 1
        if reading.tokens is not None:
            tally.with_usage += 1
            tally.tokens += reading.tokens
            tally.prompt_tokens += reading.prompt or 0
            tally.counted_texts += reading.texts
        tally.times["total"].add(time.perf_counter() - self.begun)
        steps = (reading.tokens or reading.texts) - 1
        if self.first and steps > 0:
            tally.times["per_token"].add((self.last - self.first) / steps)
