"""The corpus of request and response cases. The project's own part is in tests/data/http. Cases of
other projects lie beside the checkout and are not part of it.

ZEROPROXY_SHARED names the folder beside it; otherwise ../shared. Without it the own part is tested
alone, and one skipped test reports that the others were not."""

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[2]
OWN = HERE / "tests" / "data" / "http"
SHARED = Path(os.environ.get("ZEROPROXY_SHARED", HERE.parent / "shared")) / "http"
OWN_FILES = sorted(OWN.glob("*.jsonl"))
#: Cases of other projects. The folder also holds the own files, which count once.
OTHER_FILES = [p for p in sorted(SHARED.glob("*.jsonl")) if not (OWN / p.name).exists()]
FILES = [*OWN_FILES, *OTHER_FILES]

#: Where we decided otherwise than the corpus, and why.
DECIDED = {
    # Browsers and curl send it; nginx passes it on. A path is held to the RFC.
    "llhttp:request/uri#Query URL with vertical bar character": "accept",
    # Of two types of one body, one recipient reads the first and another the last (RFC 9110 8.3).
    "http11probe:COMP-DUPLICATE-CT": "reject",
}

needs_others = pytest.mark.skipif(
    not OTHER_FILES,
    reason=f"NOT TESTED: the corpus of other projects, {SHARED} is missing; set ZEROPROXY_SHARED",
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
    for path in FILES:
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
