"""GET /usage: the report of `zeroproxy usage`, as JSON or CSV.

The ledger is read and the answer written in a thread, because a large one would stop the loop.
MOST_ROWS at most: writing JSON holds the GIL, and health's probes wait for it.

Law. One report at a time and MOST_WAITING more, beyond that 503. A caller that left gets none.
Tests: tests/unit/test_admin_access.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

from aiohttp import web

from zeroproxy.admin.responses import as_error, as_json
from zeroproxy.errors import ZeroproxyError
from zeroproxy.metering.report.arguments import FILTERS, Query, QueryError, parse_query
from zeroproxy.metering.report.formats import as_csv, as_object
from zeroproxy.metering.report.ledger_sums import opened, usage

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PARAMETERS = ("by", "since", "until", *FILTERS, "format")
MOST_ROWS = 10_000
MOST_WAITING = 4
FORMATS = ("json", "csv")

# A query turns "+" into a space, and a "+01:00" that nobody escaped into " 01:00".
UNESCAPED_OFFSET = re.compile(r"(?<=[0-9]) (?=[0-9]{2}:[0-9]{2}$)")


@runtime_checkable
class LedgerSource(Protocol):
    """A source of the admin that keeps a ledger."""

    def ledger_path(self) -> str:
        """Its path; empty: it is off."""


def parameters_of(request: web.Request) -> dict[str, str]:
    """The parameters by name, each once. Raises QueryError."""
    parameters: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in PARAMETERS:
            raise QueryError(name, f"there are {', '.join(PARAMETERS)}")
        if name in parameters:
            raise QueryError(name, "it was given twice")
        parameters[name] = value
    if parameters.setdefault("format", FORMATS[0]) not in FORMATS:
        raise QueryError("format", f"it can be {' or '.join(FORMATS)}")
    for name in ("since", "until"):
        if "T" in parameters.get(name, ""):
            parameters[name] = UNESCAPED_OFFSET.sub("+", parameters[name])
    return parameters


def as_bad_query(error: QueryError) -> web.Response:
    parts = {"message": str(error), "code": 400, "parameter": error.name}
    return as_json({"error": parts}, 400)


class Reading:
    """One report in its thread; `leave` ends it from the loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._is_left = False

    def report(self, path: str, query: Query, form: str, now: datetime) -> web.Response:
        """Raises ZeroproxyError."""
        with opened(path) as connection:
            self._set(connection)
            try:
                found = usage(connection, query)
            finally:
                self._set(None)
        if self._is_left:
            raise ZeroproxyError("nobody waits for it")
        if form == "csv":
            return web.Response(text=as_csv(found), content_type="text/csv", charset="utf-8")
        return as_json(as_object(found, now))

    def _set(self, connection: sqlite3.Connection | None) -> None:
        with self._lock:
            self._connection = connection
            if connection is not None and self._is_left:
                raise ZeroproxyError("nobody waits for it")

    def leave(self) -> None:
        with self._lock:
            self._is_left = True
            if self._connection is not None:
                self._connection.interrupt()


async def read(path: str, query: Query, form: str, now: datetime) -> web.Response:
    """A report; whoever is cancelled here returns when the thread has ended. Raises
    ZeroproxyError."""
    reading = Reading()
    work = asyncio.ensure_future(asyncio.to_thread(reading.report, path, query, form, now))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        reading.leave()
        with contextlib.suppress(ZeroproxyError):
            await work
        raise


def as_busy() -> web.Response:
    response = as_error("other reports are being made; ask again in a moment", 503)
    response.headers["Retry-After"] = "2"
    return response


def usage_handler(source: object) -> Handler:
    """The handler over a source, which keeps a ledger if it is a LedgerSource."""

    lock = asyncio.Lock()
    pending = 0  # the report under way and those that wait

    async def answer_usage(request: web.Request) -> web.StreamResponse:
        nonlocal pending
        path = source.ledger_path() if isinstance(source, LedgerSource) else ""
        if not path:
            return as_error("no ledger is kept here; metering.ledger turns it on", 404)
        now = datetime.now(UTC)
        try:
            parameters = parameters_of(request)
            query = replace(parse_query(parameters, now), most_rows=MOST_ROWS)
        except QueryError as error:
            return as_bad_query(error)
        if pending > MOST_WAITING:
            return as_busy()
        pending += 1
        try:
            async with lock:
                return await read(path, query, parameters["format"], now)
        except QueryError as error:
            return as_bad_query(error)
        except ZeroproxyError as error:
            return as_error(str(error), 503)
        finally:
            pending -= 1

    return answer_usage
