"""The simulator's routes, on aiohttp's low-level server: no router, and connections are counted."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Any

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

import zeroproxy.sim.anthropic_wire as messages
import zeroproxy.sim.openai_wire as wire
from zeroproxy.sim.accounts import Account, Accounts
from zeroproxy.sim.faults import Fault, find_fault
from zeroproxy.sim.options import SimOptions, Stats
from zeroproxy.sim.request_plan import (
    JSON,
    Ask,
    PrefixCache,
    RequestError,
    count_prompts,
    read_request,
    texts_of,
)
from zeroproxy.sim.scheduler import Job, Scheduler
from zeroproxy.sim.send_answer import Answer, Wire

BODY_MAX = 1 << 30
SHUTDOWN = 0.2  # seconds that answers still get when the simulator stops
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
SHAPES: dict[str, type[wire.Chat] | type[wire.TextCompletion] | type[messages.Messages]] = {
    "chat": wire.Chat,
    "text": wire.TextCompletion,
    "messages": messages.Messages,
}


class CountingServer(web.Server):
    """Counts connections, also those that never ask for anything."""

    stats: Stats

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        self.stats.connections += 1
        self.stats.open_connections += 1
        super().connection_made(handler, transport)

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        self.stats.open_connections -= 1
        super().connection_lost(handler, exc)


def json_response(body: JSON, status: int = 200, **headers: str) -> web.Response:
    return web.Response(
        body=orjson.dumps(body), status=status, headers=headers, content_type="application/json"
    )


def kind_of(request: web.BaseRequest) -> str:
    last = request.path.rpartition("/")[2]
    return {"messages": "messages", "count_tokens": "messages"}.get(
        last, "chat" if "/chat/" in request.path else "text"
    )


def refusal(request: web.BaseRequest, error: RequestError) -> web.Response:
    headers = {"Retry-After": "1"} if error.status in (429, 503) else {}
    if kind_of(request) == "messages":
        return json_response(messages.error_body(str(error), error.status), error.status, **headers)
    body = wire.error_body(str(error), error.status, error.param)
    return json_response(body, error.status, **headers)


class Simulator:
    """`async with Simulator(options) as sim` serves on sim.url until the block ends."""

    def __init__(self, options: SimOptions | None = None) -> None:
        self.options = options or SimOptions()
        self.stats = Stats()
        self.accounts = Accounts(self.options.accounts)
        self.url = ""
        self._warm_at: dict[str, float] = {}
        self._cache = PrefixCache() if self.options.prefix_cache else None
        self._routes: dict[tuple[str, str], Handler] = {
            ("POST", "/v1/chat/completions"): self._generate,
            ("POST", "/v1/completions"): self._generate,
            ("POST", "/v1/messages"): self._generate,
            ("POST", "/v1/messages/count_tokens"): self._count_tokens,
            ("POST", "/v1/embeddings"): self._embeddings,
            ("GET", "/v1/models"): self._models,
            ("GET", "/health"): self._health,
            ("GET", "/metrics"): self._metrics,
            ("GET", "/sim/stats"): self._stats,
            ("GET", "/sim/accounts"): self._accounts,
        }
        self._registry = CollectorRegistry()
        self._registry.register(self)

    async def __aenter__(self) -> Simulator:
        loop = asyncio.get_running_loop()
        self.scheduler = Scheduler(self.options, self.stats, loop)
        make_request = partial(web.BaseRequest, loop=loop, client_max_size=BODY_MAX)
        server = CountingServer(
            self._handle, request_factory=make_request, handler_cancellation=True,
            access_log=None, keepalive_timeout=self.options.keep_alive,
        )  # fmt: skip
        server.stats = self.stats
        self._runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN)
        await self._runner.setup()
        try:
            await self._listen()
        except BaseException:
            await self._runner.cleanup()
            raise
        return self

    async def _listen(self) -> None:
        options = self.options
        if options.unix:
            await web.UnixSite(self._runner, options.unix).start()
            self.url = f"unix:{options.unix}"
            return
        await web.TCPSite(self._runner, options.host, options.port, backlog=1024).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.scheduler.close()
        await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        handler = self._routes.get((request.method, request.path))
        if handler is None:
            known = any(path == request.path for _, path in self._routes)
            text = "Method Not Allowed" if known else "Not Found"
            return json_response({"detail": text}, 405 if known else 404)
        try:
            return await handler(request)
        except RequestError as error:
            return refusal(request, error)
        except ConnectionError:
            return web.Response()  # the caller has left; nobody reads this

    # ------------------------------------------------------------ generation

    async def _read(self, request: web.BaseRequest) -> JSON:
        try:
            body = orjson.loads(await request.read())
        except ValueError as error:
            raise RequestError(f"the body is not JSON: {error}") from None
        if not isinstance(body, dict):
            raise RequestError("the body must be a JSON object")
        return body

    async def _generate(self, request: web.BaseRequest) -> web.StreamResponse:
        kind = kind_of(request)
        ask = read_request(kind, await self._read(request), self.options, self._cache)
        try:
            fault = find_fault(request.headers.get("x-sim-fault", ""), ask.text)
        except ValueError as error:
            raise RequestError(str(error)) from None
        out = Wire(request, fault)
        if fault.name:
            self.stats.faults += 1
            if await self._fail_early(out, fault, ask):
                return web.Response()
        answer = Answer(out, SHAPES[kind](ask), ask, fault)
        return await self._answer(answer, self._account(request, ask.model))

    def _account(self, request: web.BaseRequest, model: str) -> Account:
        return self.accounts.open(request.headers.get("x-request-id", ""), request.path, model)

    async def _answer(self, answer: Answer, account: Account) -> web.StreamResponse:
        uncached = sum(p.tokens - p.cached for p in answer.ask.prompts)
        prefill = self.options.ttft + self.options.prefill_per_token * uncached
        prefill += self._warming(answer.ask.model)
        job = Job([len(plan.pieces) for plan in answer.ask.plans], prefill)
        self.scheduler.submit(job)
        is_finished = False
        try:
            if answer.ask.streams:
                is_finished = await answer.stream(job, self.stats)
            else:
                is_finished = await answer.whole(job, self.stats)
        finally:
            self.scheduler.leave(job, is_finished)
            answer.settle(account, is_finished)
        return answer.wire.response

    def _warming(self, model: str) -> float:
        """Seconds until the model is warm; the first request for it begins that."""
        if not self.options.cold:
            return 0.0
        now = asyncio.get_running_loop().time()
        left = self._warm_at.setdefault(model, now + self.options.cold) - now
        self.stats.met_cold += left > 0
        return max(left, 0.0)

    async def _fail_early(self, out: Wire, fault: Fault, ask: Ask) -> bool:
        """True if this was the whole answer. Raises RequestError for a plain error."""
        if fault.name == "status":
            raise RequestError(f"status {fault.arg:.0f} was asked for", int(fault.arg))
        if fault.name == "error-event" and not ask.streams:
            raise RequestError("an error was asked for", 500)
        if fault.name == "slow-head":
            await asyncio.sleep(fault.arg)
        elif fault.name == "garbage-head":
            out.write_raw(b"SSH-2.0-not-http\r\n")
            out.close()
        elif fault.name == "half-head":
            out.write_raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/ev")
            out.close()
        elif fault.name == "close-head":
            out.close()
        elif fault.name == "reset-head":
            out.reset()
        return fault.name.endswith("-head") and fault.name != "slow-head"

    # ------------------------------------------------------------ the rest

    async def _count_tokens(self, request: web.BaseRequest) -> web.Response:
        texts = texts_of("messages", await self._read(request))
        return json_response({"input_tokens": len(texts[0].split())})

    async def _embeddings(self, request: web.BaseRequest) -> web.Response:
        body = await self._read(request)
        texts = texts_of("text", body)
        prompts = count_prompts(texts, None, self.options.max_model_len)
        data: list[JSON] = []
        size = self.options.embedding_size
        for k, prompt in enumerate(prompts):
            vector: Any = [((prompt.seed >> (i % 24)) & 255) / 256 for i in range(size)]
            if body.get("encoding_format") == "base64":
                vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
            data.append({"index": k, "object": "embedding", "embedding": vector})
        used = wire.usage(sum(p.tokens for p in prompts), 0)
        self.stats.prompt_tokens += used["prompt_tokens"]
        model = body.get("model") or next(iter(self.options.models), "")
        account = self._account(request, model)
        account.prompt, account.finished = used["prompt_tokens"], True
        answer = {"object": "list", "model": model, "data": data}
        return json_response({"id": "embd-sim", **answer, "usage": used})

    async def _models(self, _: web.BaseRequest) -> web.Response:
        more = {"object": "model", "created": 0, "owned_by": "zeroproxy"}
        more["max_model_len"] = self.options.max_model_len
        return json_response(
            {"object": "list", "data": [{"id": name, **more} for name in self.options.models]}
        )

    async def _health(self, _: web.BaseRequest) -> web.Response:
        return web.Response()

    async def _metrics(self, _: web.BaseRequest) -> web.Response:
        return web.Response(body=generate_latest(self._registry), content_type="text/plain")

    def collect(self) -> list[Any]:
        """Collect for prometheus_client: vLLM's names, without its model label,
        since one engine serves all models here."""
        s = self.stats
        return [
            GaugeMetricFamily("vllm:num_requests_running", "Choices in the batch", s.running),
            GaugeMetricFamily("vllm:num_requests_waiting", "Choices that wait", s.waiting),
            CounterMetricFamily("vllm:prompt_tokens", "Prompt tokens", s.prompt_tokens),
            CounterMetricFamily("vllm:generation_tokens", "Tokens made", s.generated_tokens),
            CounterMetricFamily("vllm:request_success", "Answers sent to their end", s.finished),
        ]

    async def _stats(self, _: web.BaseRequest) -> web.Response:
        return json_response(self.stats.as_dict())

    async def _accounts(self, _: web.BaseRequest) -> web.Response:
        return json_response({"accounts": self.accounts.as_list()})
