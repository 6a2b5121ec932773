"""The part of `zeroproxy check` that asks an engine whether it takes a priority.

Tests: tests/unit/test_check_priority.py.
"""

from __future__ import annotations

from zeroproxy.commands.check_report import Findings
from zeroproxy.config.schema import Upstream
from zeroproxy.policy.http_client import generate_one
from zeroproxy.policy.socket_addresses import Address
from zeroproxy.server.endpoints import priority_field_of

#: Seconds for one token; a model that compiles its kernels first takes longer.
PATIENCE = 30.0
FIELDS = {"vllm": "X-Vllm-Priority", "sglang": "X-Override-Priority"}
#: Options with which an engine takes it.
OPTIONS = {"vllm": "--scheduling-policy priority", "sglang": "--enable-priority-scheduling"}


async def check_priority(findings: Findings, upstream: Upstream, address: Address) -> None:
    """Ask for one token with a priority, and where that is refused, for one without."""
    if upstream.engine_priority == "off":
        return
    key, engine = f"upstream {upstream.name}", priority_field_of(upstream)
    status = await generate_one(address, PATIENCE, upstream.api_key, {FIELDS[engine]: "1"})
    if status == 200:
        findings.ok(key, f"{address.url} takes a priority ({FIELDS[engine]})")
    elif status in (400, 422) and await generate_one(address, PATIENCE, upstream.api_key) == 200:
        findings.warn(
            key,
            f"{address.url} refuses a priority with {status}: it is started without "
            f"{OPTIONS[engine]}. Requests of keys with another priority than 5 would fail",
        )
    else:
        findings.warn(
            key,
            f"{address.url}: whether it takes a priority is not known, a request for one token "
            + (f"returned {status}" if status else f"was not answered within {PATIENCE:g} s"),
        )
