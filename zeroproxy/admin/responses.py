"""Answers of the admin listener: JSON, also where something is wrong."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web


def as_json(value: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE),
        status=status,
        content_type="application/json",
    )


def as_error(message: str, status: int) -> web.Response:
    return as_json({"error": {"message": message, "code": status}}, status)
