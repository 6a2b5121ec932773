"""The corpus of request and response cases, which lives beside the checkout and is not part of it.

ZEROPROXY_SHARED names the folder; otherwise ../shared beside the checkout. Without it the tests
that need it are skipped, and say so."""

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("ZEROPROXY_SHARED", HERE.parent / "shared")) / "http"

#: Where we decided otherwise than the corpus, and why.
DECIDED = {
    # Browsers and curl send it; nginx passes it on. A path is held to the RFC.
    "llhttp:request/uri#Query URL with vertical bar character": "accept",
    # Of two types of one body, one recipient reads the first and another the last (RFC 9110 8.3).
    "http11probe:COMP-DUPLICATE-CT": "reject",
}

needs_corpus = pytest.mark.skipif(
    not SHARED.is_dir(), reason=f"NO CORPUS: {SHARED} is missing; set ZEROPROXY_SHARED"
)


@dataclass(frozen=True)
class Case:
    id: str
    raw: bytes
    expect: str
    prefer: str
    code: str
    state: str
    request_method: str


def load(kind: str) -> Iterator[Case]:
    for path in sorted(SHARED.glob("*.jsonl")):
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                c = json.loads(line)
                if c["kind"] == kind:
                    yield Case(
                        c["id"],
                        base64.b64decode(c["raw"]),
                        c["expect"],
                        c.get("prefer") or "",
                        c.get("code") or "",
                        c.get("state") or "complete",
                        c.get("request_method") or "GET",
                    )
