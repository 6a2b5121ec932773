"""One answer on its way out: the bytes, in order, and the ways in which they may fail."""

from __future__ import annotations

import asyncio
import socket
import struct

import orjson
from aiohttp import web

from zeroproxy.sim.accounts import Account
from zeroproxy.sim.faults import LATE, Fault
from zeroproxy.sim.openai_wire import Shape, reasoning_so_far, total_reasoning
from zeroproxy.sim.options import Stats
from zeroproxy.sim.request_plan import Ask
from zeroproxy.sim.scheduler import Job

EVENTS = "text/event-stream; charset=utf-8"
JSON = "application/json"
ENGINE_DIED = "EngineCore encountered an issue. See stack trace (above) for the root cause."


class Wire:
    """Where an answer goes: a StreamResponse, or the bare transport if it has no Content-Type,
    which aiohttp insists on."""

    def __init__(self, request: web.BaseRequest, fault: Fault) -> None:
        self._request = request
        self._is_bare = fault.name == "no-content-type"
        self.response = web.StreamResponse()

    async def begin(self, content_type: str, length: int | None = None) -> None:
        if self._is_bare:
            framing = (
                "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
            )
            self.write_raw(f"HTTP/1.1 200 OK\r\n{framing}\r\nConnection: close\r\n\r\n".encode())
            self._is_chunked = length is None
            return
        self.response.headers["Content-Type"] = content_type
        self.response.content_length = length
        await self.response.prepare(self._request)

    async def write(self, data: bytes) -> None:
        if not self._is_bare:
            await self.response.write(data)
        elif self._is_chunked:
            self.write_raw(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self.write_raw(data)

    async def end(self) -> None:
        if not self._is_bare:
            await self.response.write_eof()
            return
        if self._is_chunked:
            self.write_raw(b"0\r\n\r\n")
        self.close()

    def write_raw(self, data: bytes) -> None:
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the caller has left")
        transport.write(data)

    def close(self) -> None:
        """FIN, after what was written."""
        if self._request.transport is not None:
            self._request.transport.close()

    def reset(self) -> None:
        """RST instead of an end."""
        transport = self._request.transport
        if transport is not None:
            sock: socket.socket = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()


class Answer:
    """Gives the tokens of `job` to the caller in the dialect of `shape`."""

    def __init__(self, wire: Wire, shape: Shape, ask: Ask, fault: Fault) -> None:
        self.wire, self.shape, self.ask, self.fault = wire, shape, ask, fault
        self.written = 0  # tokens
        self.total = sum(len(plan.pieces) for plan in ask.plans)

    async def stream(self, job: Job, stats: Stats) -> bool:
        """True if it was sent to its end."""
        await self.wire.begin(EVENTS)
        for sent in range(self.total):
            index = await job.next()
            if sent == 0:
                for event in self.shape.opening():
                    await self.wire.write(event)
                self._count_prompts(stats)
            if self.fault.is_due(sent):
                await self._strike(b"".join(self.shape.token(index)))
                return False
            for event in self.shape.token(index):
                await self.wire.write(event)
            self._count_token(index, stats)
        for event in self.shape.closing():
            await self.wire.write(event)
        await self.wire.end()
        return True

    async def whole(self, job: Job, stats: Stats) -> bool:
        for _ in range(self.total):
            self.shape.counts[await job.next()] += 1
        body = orjson.dumps(self.shape.whole())
        await self.wire.begin(JSON, len(body))
        if self.fault.name in LATE:
            await self._strike(body)
            return False
        await self.wire.write(body)
        await self.wire.end()
        self._count_prompts(stats)
        self.written = self.total
        stats.completion_tokens += self.total
        stats.reasoning_tokens += sum(plan.reasoning for plan in self.ask.plans)
        return True

    def settle(self, account: Account, finished: bool) -> None:
        """It is over: note what was sent of it."""
        account.prompt = sum(p.tokens for p in self.ask.prompts)
        # vLLM reports the first prompt's.
        account.cached = self.ask.prompts[0].cached
        account.generated, account.written = sum(self.shape.counts), self.written
        account.reasoning = total_reasoning(self.ask, self.shape.counts)
        account.finished = finished

    def _count_prompts(self, stats: Stats) -> None:
        stats.prompt_tokens += sum(p.tokens for p in self.ask.prompts)
        stats.cached_tokens += sum(p.cached for p in self.ask.prompts)

    def _count_token(self, index: int, stats: Stats) -> None:
        self.written += 1
        stats.completion_tokens += 1
        counts = self.shape.counts
        if counts[index] <= reasoning_so_far(self.ask, counts, index):
            stats.reasoning_tokens += 1

    async def _strike(self, following: bytes) -> None:
        """The fault, now; `following` is what would have been sent next."""
        name = self.fault.name
        if name == "error-event":
            for event in self.shape.error(ENGINE_DIED, 500):
                await self.wire.write(event)
            await self.wire.end()
            return
        if name == "cut-mid-event" or not self.ask.streams:
            await self.wire.write(following[: len(following) // 2])
            # The half must be seen before the reset is: a peer may drop what it has not read.
            await asyncio.sleep(0.02)
        if name == "clean-cut":
            self.wire.close()
        elif name == "stall":
            await asyncio.Event().wait()
        else:
            self.wire.reset()
