"""The simulator's HTTP side, on aiohttp."""

from __future__ import annotations

import asyncio
import socket
import struct
from types import TracebackType
from typing import Any

import orjson
from aiohttp import web

from zeroproxy.sim import wire
from zeroproxy.sim.engine import Job, Scheduler, SimOptions, Stats, make_job
from zeroproxy.sim.faults import Fault, find_fault


def words_of(content: Any) -> str:
    """The text of a message: a string, or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return " ".join(words_of(p.get("text", "") if isinstance(p, dict) else p) for p in content)
    return ""


class Exchange:
    """One request being answered: its job, its fault, and where its bytes go."""

    def __init__(self, sim: Simulator, request: web.Request, asked: dict[str, Any]) -> None:
        self.sim, self.request, self.asked = sim, request, asked
        messages = asked.get("messages")
        if isinstance(messages, list):
            self.prompt = "\n".join(words_of(m.get("content")) for m in messages)
            self.prompt_tokens = len(self.prompt.split()) + 3 * len(messages)
        else:
            self.prompt = words_of(asked.get("prompt"))
            self.prompt_tokens = len(self.prompt.split())
        limit = asked.get("max_tokens", asked.get("max_completion_tokens"))
        default = sim.options.default_tokens
        self.job: Job = make_job(self.prompt, self.prompt_tokens, limit, default)
        self.fault: Fault = find_fault(request.headers.get("x-sim-fault", ""), self.prompt)
        self.n = int(asked.get("n") or 1)
        self.sent = 0
        self.response: web.StreamResponse | None = None

    async def begin(self) -> None:
        self.response = web.StreamResponse()
        self.response.content_type = "text/event-stream"
        self.response.charset = "utf-8"
        self.response.enable_chunked_encoding()
        await self.response.prepare(self.request)

    async def write(self, data: bytes) -> None:
        assert self.response is not None
        await self.response.write(data)

    def reset(self) -> None:
        """RST instead of an end."""
        transport = self.request.transport
        if transport is not None:
            sock: socket.socket = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()

    async def strike(self, event: bytes) -> bool:
        """Act on a fault whose moment has come, before `event` is sent. True: it is over."""
        fault = self.fault
        if fault.strikes("cut-mid-event", self.sent):
            await self.write(event[: len(event) // 2])
            await asyncio.sleep(0.01)
            self.reset()
        elif fault.strikes("cut", self.sent):
            await asyncio.sleep(0.01)
            self.reset()
        elif fault.strikes("clean-cut", self.sent):
            assert self.request.transport is not None
            self.request.transport.close()
        elif fault.strikes("error-event", self.sent):
            await self.write(wire.sse(wire.error("EngineCore died", 500, "InternalServerError")))
            await self.write(wire.DONE)
        elif fault.strikes("stall", self.sent):
            await asyncio.sleep(3600)
        else:
            return False
        self.sim.stats.faults += 1
        return True

    async def each_token(self) -> Any:
        """The index of each token as the engine produces it."""
        while self.sent < self.job.total:
            await self.sim.scheduler.step()
            while self.sent < self.job.produced:
                yield self.sent
                self.sent += 1
                self.sim.stats.completion_tokens += self.n


class Simulator:
    """`async with Simulator(options) as sim` serves on sim.url until the block ends."""

    def __init__(self, options: SimOptions | None = None) -> None:
        self.options = options or SimOptions()
        self.stats = Stats()
        self.scheduler = Scheduler(self.options, self.stats)
        self._runner = web.AppRunner(
            self._app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.2
        )
        self.url = ""

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_post("/v1/chat/completions", self._openai)
        app.router.add_post("/v1/completions", self._openai)
        app.router.add_post("/v1/messages", self._anthropic)
        app.router.add_post("/v1/embeddings", self._embeddings)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/sim/stats", self._stats)
        return app

    async def __aenter__(self) -> Simulator:
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.options.host, self.options.port)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.scheduler.close()
        await self._runner.cleanup()

    # ------------------------------------------------------------ reading

    async def _read(self, request: web.Request) -> Exchange | web.Response:
        """The exchange, or the answer to a request that is wrong or asked to fail at once."""
        try:
            asked = orjson.loads(await request.read())
            exchange = Exchange(self, request, asked)
        except (ValueError, AttributeError, TypeError) as error:
            return web.json_response(wire.error(str(error), 400), status=400)
        fault = exchange.fault
        if fault.name == "status":
            self.stats.faults += 1
            status = int(fault.arg)
            headers = {"Retry-After": "1"} if status in (429, 503) else {}
            body = wire.error(f"status {status} was asked for", status)
            return web.json_response(body, status=status, headers=headers)
        if fault.name == "garbage-head":
            self.stats.faults += 1
            assert request.transport is not None
            request.transport.write(b"SSH-2.0-not-http\r\n")
            request.transport.close()
            return web.Response()
        if fault.name == "slow-head":
            await asyncio.sleep(fault.arg)
        return exchange

    # ------------------------------------------------------------ generation

    async def _openai(self, request: web.Request) -> web.StreamResponse:
        exchange = await self._read(request)
        if isinstance(exchange, web.Response):
            return exchange
        options = exchange.asked.get("stream_options") or {}
        shape = wire.OpenAI(
            self.options.model,
            is_chat="/chat/" in request.path,
            wants_usage=bool(options.get("include_usage")),
            wants_continuous=bool(options.get("continuous_usage_stats")),
        )
        if exchange.asked.get("stream"):
            return await self._run(exchange, self._stream_openai(exchange, shape))
        return await self._run(exchange, self._whole_openai(exchange, shape))

    async def _run(self, exchange: Exchange, work: Any) -> web.StreamResponse:
        self.scheduler.submit(exchange.job)
        finished = False
        try:
            response: web.StreamResponse = await work
            finished = exchange.sent >= exchange.job.total
        finally:
            self.scheduler.leave(exchange.job, finished)
        return response

    async def _stream_openai(self, x: Exchange, shape: wire.OpenAI) -> web.StreamResponse:
        await x.begin()
        if shape.is_chat:
            for index in range(x.n):
                await x.write(shape.role_chunk(index, x.prompt_tokens))
        async for k in x.each_token():
            finish = "length" if k + 1 == x.job.total else None
            for index in range(x.n):
                event = shape.token_chunk(index, x.job.text(k), finish, (x.prompt_tokens, k + 1))
                if await x.strike(event):
                    assert x.response is not None
                    return x.response
                await x.write(event)
        assert x.response is not None
        await x.write(shape.end(x.prompt_tokens, x.sent * x.n))
        await x.response.write_eof()
        return x.response

    async def _whole_openai(self, x: Exchange, shape: wire.OpenAI) -> web.StreamResponse:
        text = "".join([x.job.text(k) async for k in x.each_token()])
        tools = x.asked.get("tools")
        if tools and x.asked.get("tool_choice") not in (None, "none", "auto"):
            return web.json_response(shape.tool_body(tools[0], x.prompt_tokens, x.sent))
        body = shape.body([text] * x.n, x.prompt_tokens, x.sent * x.n)
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    async def _anthropic(self, request: web.Request) -> web.StreamResponse:
        exchange = await self._read(request)
        if isinstance(exchange, web.Response):
            return exchange
        shape = wire.Anthropic(self.options.model)
        if exchange.asked.get("stream"):
            return await self._run(exchange, self._stream_anthropic(exchange, shape))
        return await self._run(exchange, self._whole_anthropic(exchange, shape))

    async def _stream_anthropic(self, x: Exchange, shape: wire.Anthropic) -> web.StreamResponse:
        await x.begin()
        await x.write(shape.begin(x.prompt_tokens))
        async for k in x.each_token():
            event = shape.token(x.job.text(k))
            if await x.strike(event):
                break
            await x.write(event)
        else:
            await x.write(shape.end(x.prompt_tokens, x.sent))
            assert x.response is not None
            await x.response.write_eof()
        assert x.response is not None
        return x.response

    async def _whole_anthropic(self, x: Exchange, shape: wire.Anthropic) -> web.StreamResponse:
        text = "".join([x.job.text(k) async for k in x.each_token()])
        body = shape.body(text, x.prompt_tokens, x.sent)
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    # ------------------------------------------------------------ the rest

    async def _embeddings(self, request: web.Request) -> web.Response:
        asked = orjson.loads(await request.read())
        texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
        data = [
            {"object": "embedding", "index": k, "embedding": [float(len(t)), 0.5]}
            for k, t in enumerate(texts)
        ]
        used = wire.usage(sum(len(str(t).split()) for t in texts), 0)
        body = {"object": "list", "model": self.options.model, "data": data, "usage": used}
        return web.json_response(body)

    async def _models(self, _: web.Request) -> web.Response:
        model = {"id": self.options.model, "object": "model", "owned_by": "zeroproxy"}
        return web.json_response({"object": "list", "data": [model]})

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _metrics(self, _: web.Request) -> web.Response:
        s = self.stats
        lines = {
            "vllm:num_requests_running": s.running,
            "vllm:num_requests_waiting": s.waiting,
            "vllm:prompt_tokens_total": s.prompt_tokens,
            "vllm:generation_tokens_total": s.completion_tokens,
        }
        text = "".join(f'{k}{{model_name="{self.options.model}"}} {v}\n' for k, v in lines.items())
        return web.Response(text=text)

    async def _stats(self, _: web.Request) -> web.Response:
        return web.json_response(self.stats.as_dict())
