"""The part of `zeroproxy check` that asks an engine for its routes: which of them callers reach."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import orjson

from zeroproxy.commands.check_report import Findings
from zeroproxy.config.schema import Upstream
from zeroproxy.config.surface import METHODS, passes, rules_of
from zeroproxy.policy.http_client import get_page
from zeroproxy.policy.proxy_readiness import TIMEOUT
from zeroproxy.policy.socket_addresses import Address

PAGE = "/openapi.json"
ROUTES_MAX = 2000  # of a page that are read
SHOWN = 100  # of those that are named
ROUTE = re.compile(r"/[!-~]{0,199}")
PARAMETER = re.compile(r"\{[^{}/]*\}")


def routes_in(page: bytes) -> list[tuple[str, str]] | None:
    """Method and path of every route, in the page's order; None: it is no OpenAPI document. Text
    that cannot be a path is left out: it is a server's."""
    try:
        paths: Any = orjson.loads(page)["paths"]
        found = [
            (method.upper(), path)
            for path, operations in paths.items()
            if ROUTE.fullmatch(path)
            for method in operations
            if method.upper() in METHODS
        ]
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        return None
    return found[:ROUTES_MAX]


def named(routes: Iterable[tuple[str, str]]) -> str:
    texts = [f"{method} {path}" for method, path in routes]
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more


def compare(findings: Findings, upstream: Upstream, url: str, page: bytes | None) -> None:
    key = f"upstream {upstream.name} surface"
    routes = routes_in(page) if page is not None else None
    if routes is None:
        return  # many servers have no such page
    rules = rules_of(upstream.surface.paths)
    inside = [
        (method, path) for method, path in routes if passes(rules, method, PARAMETER.sub("x", path))
    ]
    outside = [route for route in routes if route not in set(inside)]
    findings.ok(key, f"{url}: {len(inside)} of {len(routes)} routes of {PAGE} pass")
    if inside:
        findings.ok(key, f"passes: {named(inside)}")
    if outside:
        findings.ok(key, f"does not: {named(outside)}")


async def check_surface(findings: Findings, upstream: Upstream, address: Address) -> None:
    """Read the page within TIMEOUT seconds, and 4 MiB at most."""
    page = await get_page(address, PAGE, TIMEOUT, upstream.api_key)
    compare(findings, upstream, address.url, page)
