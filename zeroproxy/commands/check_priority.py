"""The part of `zeroproxy check` that asks an engine whether it accepts a priority.

Note. No engine reports if it obeys one: vLLM 0.32 ignores the field under another policy.

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
        findings.ok(
            key,
            f"{address.url} accepts a priority ({FIELDS[engine]}); it obeys one with "
            f"{OPTIONS[engine]}",
        )
    elif status in (400, 422) and await generate_one(address, PATIENCE, upstream.api_key) == 200:
        findings.warn(
            key,
            f"{address.url} refuses a priority with {status}, and so all keys whose priority is "
            f"not 5: it needs {OPTIONS[engine]}",
        )
    else:
        findings.warn(
            key,
            f"{address.url}: whether it accepts a priority is not known, a request for one token "
            + (f"returned {status}" if status else f"was not answered within {PATIENCE:g} s"),
        )
