"""python record_paths.py PORT: a uvicorn that notes every request as its router would see it.

GET /seen answers [[method, path], ...], the paths decoded, as Starlette compares them."""

from __future__ import annotations

import json
import sys
from typing import Any

import uvicorn

SEEN: list[tuple[str, str]] = []


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        SEEN.append(("WEBSOCKET", scope["path"]))
        await send({"type": "websocket.close"})
        return
    body = b"{}"
    if scope["path"] == "/seen":
        body = json.dumps(SEEN).encode()
    else:
        SEEN.append((scope["method"], scope["path"]))
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", b"%d" % len(body))]})  # fmt: skip
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), lifespan="off", log_level="warning")
