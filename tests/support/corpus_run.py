"""The corpus played against real proxies: in shards that run at once, because most cases wait.

Every shard has a proxy, a backend and a process of the runner (tests/support/run_cases.py) for
itself. Event streams are timed by the runner, so they are played alone.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.support import strict9112
from tests.support.corpus import DECIDED, FILES
from tests.support.ports import free_port
from tests.support.proxy_process import ProxyProcess, upstream_toml

SHARDS = 8
#: Seconds the runner waits for an answer: more than its own 0.35, as the shards share the machine.
PATIENCE = "0.7"
# The runner's server begins to listen after the proxy: readiness is not waited for. A server that
# counts requests must receive no probes; one that answers nonsense on purpose needs retries.
WORDS = {
    "health": '{ path = "" }',
    "breaker": "{ failures = 0 }",
    "cookies": "true",
    "surface": '{ paths = "all", strip_headers = [], refuse_fields = [] }',
}
#: An answer whose head has gone is refused by cutting it.
REFUSES = {"truncated": "reject"}
METERING = "[metering]\ninject_usage = false\n"
#: Byte by byte, a body of one-byte chunks is slower than a caller may be.
SLOW = "[limits]\nbody_min_rate = 0\n"


@dataclass
class Play:
    """The cases that were played, and the runner's verdict on each."""

    cases: list[dict[str, Any]]
    results: list[dict[str, Any]]
    is_bytewise: bool = False

    def failures(self) -> list[dict[str, Any]]:
        return [r for r in self.results if not r["ok"] or r["hard"]]

    def of(self, kind: str, expect: str = "") -> list[dict[str, Any]]:
        ids = {c["id"] for c in self.cases if c["kind"] == kind}
        return [r for r in self.results if r["id"] in ids and expect in ("", r["expect"])]

    def preferences(self) -> tuple[list[str], int]:
        """(ids of cases where the preferred way was not taken, how many have one)."""
        cases = [c for c in self.cases if not (self.is_bytewise and is_race(c))]
        asked = {c["id"]: DECIDED.get(c["id"], c["prefer"]) for c in cases if has_preference(c)}
        found = [r for r in self.results if r["id"] in asked]
        missed = [r["id"] for r in found if REFUSES.get(r["got"], r["got"]) != asked[r["id"]]]
        return missed, len(found)

    def figures(self) -> str:
        """One line for the manual: cases by kind and expectation."""
        kinds = {c["id"]: c["kind"] for c in self.cases}
        counts = Counter(f"{kinds[r['id']]} {r['expect']}" for r in self.results)
        missed, n = self.preferences()
        strict = f"the strict way {n - len(missed)}/{n}"
        return f"{len(self.results)} cases {dict(sorted(counts.items()))}, {strict}"


def has_preference(case: dict[str, Any]) -> bool:
    """True if the RFC permits both and the corpus names the better one."""
    return (
        case.get("expect") == "either"
        and case.get("prefer") in ("accept", "reject")
        and case.get("state") == "complete"
    )


def mended(result: dict[str, Any]) -> dict[str, Any]:
    """A request that may go no further and was answered with 200, and did not go, is well answered
    (RFC 9110 7.6.2). The runner takes every 2xx for one of the backend's."""
    answered = result["got"] == "accept" and result["codes"] == [200] and result["fwd"] == 0
    is_noted = result["hard"] == ["desync:1x2xx/0req"]
    if result["id"] == "own:maxfwd-options0" and answered and is_noted:
        return {**result, "ok": True, "hard": []}
    return result


def is_race(case: dict[str, Any]) -> bool:
    """True if bytes follow a request for an upgrade. Sent one by one, some come before it is
    declined and some after. How many of them a proxy may read is a matter of timing."""
    raw = base64.b64decode(case["raw"])
    return "bytes-after-upgrade" in strict9112.classify_request(raw).codes()


def load(*kinds: str) -> list[dict[str, Any]]:
    """Every case of these kinds; the runner plays no CONNECT on the response side."""
    lines = [line for path in FILES for line in path.read_text().splitlines()]
    found = [json.loads(line) for line in lines]
    return [c for c in found if c["kind"] in kinds and c.get("request_method") != "CONNECT"]


def play_shard(
    folder: Path, options: tuple[str, ...], numbered: tuple[int, list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    k, cases = numbered
    source, out = folder / f"{k}.jsonl", folder / f"{k}.out"
    source.write_text("".join(json.dumps(case) + "\n" for case in cases))
    backend = free_port()
    text = upstream_toml(f"http://127.0.0.1:{backend}", **WORDS) + METERING + SLOW
    with ProxyProcess(text, wait_ready=False) as proxy:
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.run_cases", "--proxy", f"127.0.0.1:{proxy.port}",
             "--backend", f"127.0.0.1:{backend}", "--out", str(out), "-v", *options, str(source)],
            capture_output=True, text=True, timeout=380, check=False,
        )  # fmt: skip
        print(done.stdout, done.stderr)
        proxy.until_quiet()
    return [json.loads(line) for line in out.read_text().splitlines()]


def play(folder: Path, cases: list[dict[str, Any]], shards: int, *options: str) -> Play:
    parts = [cases[k::shards] for k in range(shards)]
    with ThreadPoolExecutor(shards) as crew:
        found = crew.map(partial(play_shard, folder, options), enumerate(parts))
        results = [mended(result) for part in found for result in part]
    return Play(cases, results, is_bytewise="--frag" in options)


def play_whole(folder: Path) -> Play:
    return play(folder, load("request", "response", "transform"), SHARDS, "--t1", PATIENCE)


def play_bytewise(folder: Path) -> Play:
    """Send as a caller, one byte a write."""
    cases = load("request", "transform")
    return play(folder, cases, SHARDS, "--t1", PATIENCE, "--frag", "1")


def play_events(folder: Path) -> Play:
    return play(folder, load("sse"), 1)
