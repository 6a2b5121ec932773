"""Routes of the admin listener.

GET /healthz   the process runs
GET /readyz    200 if traffic should be sent here; else 503 with the reasons
GET /metrics   Prometheus
GET /status    everything the proxy knows of itself, as JSON
GET /usage     sums of the ledger, as JSON or CSV (commands/usage.py)
POST /-/drain  stop gracefully
POST /-/endpoint?url=U&drain=true   send one endpoint no new request; drain=false: again
POST /-/reload read the configuration again; 400: it is wrong, 422: it needs a restart

With admin.token every path but /healthz and /readyz needs it.

Law 1. Loopback does not keep browsers out: any page may post to it. A request that changes
       something is therefore refused if it has Origin or Sec-Fetch-Site, which browsers send and
       tools do not. A request that only reads must not come from a page of another origin. It
       needs a Host that no page can choose (hosts.py), or the token.
Law 2. A caller that leaves ends the request; a reload goes on, for it is whole or not at all.
Law 3. A request that could change something leaves a line in the audit file (audit.py), also one
       that is refused.
Tests: tests/unit/test_admin_app.py, tests/unit/test_admin_access.py, tests/unit/test_audit.py.
"""

from __future__ import annotations

import asyncio
import functools
import hmac
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from zeroproxy.admin.audit import CALLER_LEFT, Audit, peer_of, result_of
from zeroproxy.admin.hosts import is_known
from zeroproxy.admin.metrics import SnapshotCollector
from zeroproxy.admin.responses import as_error, as_json
from zeroproxy.admin.usage import usage_handler
from zeroproxy.errors import ConfigError, ZeroproxyError, one_line

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AdminSource(Protocol):
    """The part of a worker that the admin listener uses."""

    def snapshot(self) -> dict[str, Any]: ...

    def ready(self) -> tuple[bool, list[str]]: ...

    def drain(self) -> None: ...

    def drain_endpoint(self, url: str, drain: bool) -> dict[str, Any] | None: ...

    async def reload_file(self) -> list[str]: ...


#: Paths that need no token: probes have none.
OPEN = ("/healthz", "/readyz")
log = logging.getLogger(__name__)
SOURCE = web.AppKey("source", AdminSource)
TOKEN: web.AppKey[Callable[[], str]] = web.AppKey("token")
NAMES: web.AppKey[Callable[[], Collection[str]] | None] = web.AppKey("names")
AUDIT: web.AppKey[Audit] = web.AppKey("audit")
REGISTRY = web.AppKey("registry", CollectorRegistry)

INDEX = """<!doctype html><html lang="en"><meta charset="utf-8"><title>zeroproxy</title>
<style>body{font:16px/1.6 system-ui,sans-serif;margin:3em auto;max-width:40em}</style>
<h1>zeroproxy</h1><ul>
<li><a href="/status">/status</a> everything it knows of itself
<li><a href="/usage">/usage</a> what the ledger counted; ?by=tenant&amp;since=24h&amp;format=csv
<li><a href="/metrics">/metrics</a> Prometheus
<li><a href="/readyz">/readyz</a> whether traffic should come here
<li><a href="/healthz">/healthz</a> whether the process runs</ul></html>
"""


POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


def shows_token(request: web.Request) -> bool:
    """True if there is a token and the request has it."""
    token = request.app[TOKEN]()
    scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
    # As bytes: compare_digest takes no text beyond ASCII.
    is_same = hmac.compare_digest(shown.strip().encode(errors="replace"), token.encode())
    return bool(token) and is_same and scheme.lower() == "bearer"


def refuse_host(request: web.Request) -> web.Response | None:
    """None: its Host is known, or need not be."""
    names, host = request.app[NAMES], request.headers.get("Host", "")
    if names is None or is_known(host, names()) or shows_token(request):
        return None
    return as_error(
        f'Host "{one_line(host[:100])}" is not known here: a loopback name, an address, the host '
        "of admin.listen, or one of admin.hosts", 421,
    )  # fmt: skip


def is_foreign(request: web.Request) -> bool:
    """True if a page of another origin asks. Following a link from it is no such request."""
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("Host"):
        return True
    site = request.headers.get("Sec-Fetch-Site", "none")
    return site not in ("none", "same-origin") and (
        request.headers.get("Sec-Fetch-Mode") != "navigate"
    )


def refuse_page(request: web.Request) -> web.Response | None:
    """None: no web page asks, or one of this port reads."""
    if request.method not in ("GET", "HEAD"):
        if "Origin" in request.headers or "Sec-Fetch-Site" in request.headers:
            return as_error("a browser may not do this", 403)
    elif is_foreign(request):
        return as_error("a page of another origin may not read this", 403)
    return None


async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The response of the handler, or its failure as JSON."""
    if refusal := refuse_host(request):
        return refusal
    if request.app[TOKEN]() and request.path not in OPEN and not shows_token(request):
        response = as_error("admin.token is asked for: Authorization: Bearer TOKEN", 401)
        response.headers["WWW-Authenticate"] = "Bearer"
        return response
    if refusal := refuse_page(request):
        return refusal
    try:
        return await handler(request)
    except web.HTTPException as error:
        response = as_error(error.reason, error.status)
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return as_error("it failed; the reason is in the log", 500)


async def audited(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The answer; the audit file has it if the request could change something."""
    if request.method in ("GET", "HEAD"):
        return await answer(request, handler)
    note = functools.partial(request.app[AUDIT].note, request, peer_of(request))
    try:
        response = await answer(request, handler)
    except asyncio.CancelledError:
        note(shows_token(request), CALLER_LEFT, {"message": "the caller left before the answer"})
        raise
    note(shows_token(request), response.status, result_of(response))
    return response


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Headers that keep browsers and caches from guessing, on every answer."""
    response = await audited(request, handler)
    response.headers["Server"] = "zeroproxy"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Content-Security-Policy"] = POLICY
    return response


async def healthz(_: web.Request) -> web.Response:
    return as_json({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    is_ready, reasons = request.app[SOURCE].ready()
    return as_json({"ready": is_ready, "reasons": reasons}, 200 if is_ready else 503)


async def metrics(request: web.Request) -> web.Response:
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    body = encode(request.app[REGISTRY])
    return web.Response(body=body, headers={"Content-Type": content_type})


async def status(request: web.Request) -> web.Response:
    return as_json(request.app[SOURCE].snapshot())


async def drain(request: web.Request) -> web.Response:
    request.app[SOURCE].drain()
    return as_json({"draining": True}, 202)


async def drain_endpoint(request: web.Request) -> web.Response:
    """One endpoint, by the URL of the configuration."""
    parameters = dict(request.query)
    if set(parameters) != {"url", "drain"} or len(request.query) != 2:
        return as_error("it takes url=URL and drain=true or drain=false, each once", 400)
    if parameters["drain"] not in ("true", "false"):
        return as_error("drain: it can be true or false", 400)
    found = request.app[SOURCE].drain_endpoint(parameters["url"], parameters["drain"] == "true")
    if found is None:
        return as_error("there is no such endpoint", 404)
    return as_json(found)


async def reload(request: web.Request) -> web.Response:
    try:
        changed = await asyncio.shield(request.app[SOURCE].reload_file())
    except ConfigError as error:
        return as_error(str(error), 400)
    except ZeroproxyError as error:
        return as_error(str(error), 422)
    return as_json({"reloaded": True, "changed": changed})


async def index(_: web.Request) -> web.Response:
    return web.Response(text=INDEX, content_type="text/html")


def create_app(
    source: AdminSource,
    token: Callable[[], str] = lambda: "",
    names: Callable[[], Collection[str]] | None = tuple,
    audit: Audit | None = None,
) -> web.Application:
    """The admin application over `source`; start it with AdminServer or any aiohttp runner. `token`
    returns the token that callers need; "": none. `names`: values of Host beside addresses and
    loopback names; None: anything."""
    app = web.Application(middlewares=[guard])
    app[SOURCE] = source
    app[TOKEN] = token
    app[NAMES] = names
    app[AUDIT] = audit if audit is not None else Audit(lambda: "")
    app[REGISTRY] = CollectorRegistry(auto_describe=False)
    app[REGISTRY].register(SnapshotCollector(source.snapshot))
    app.router.add_get("/", index)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/status", status)
    app.router.add_get("/usage", usage_handler(source))
    app.router.add_post("/-/drain", drain)
    app.router.add_post("/-/endpoint", drain_endpoint)
    app.router.add_post("/-/reload", reload)
    return app
