"""Errors on demand. NAME or NAME=ARG in the header `x-sim-fault`, or first in the prompt as
`!fault=NAME=ARG `.

status=N          answer with HTTP status N and an OpenAI error (429 and 503 with Retry-After)
slow-head=S       wait S seconds before the response head
cut=N             reset the connection after N tokens
cut-mid-event=N   reset it in the middle of the event after N tokens
clean-cut=N       close with FIN after N tokens, without the last chunk
error-event=N     after N tokens an error event and [DONE], as vLLM does when its engine dies
stall=N           after N tokens nothing more, the connection stays open
garbage-head      bytes that are no HTTP
"""

from __future__ import annotations

import re
from dataclasses import dataclass

NAMES = (
    "status",
    "slow-head",
    "cut",
    "cut-mid-event",
    "clean-cut",
    "error-event",
    "stall",
    "garbage-head",
)
PROMPT = re.compile(r"^!fault=([a-z-]+)(?:=([0-9.]+))?\s*")


@dataclass(frozen=True)
class Fault:
    name: str = ""
    arg: float = 0.0

    def strikes(self, name: str, tokens: int) -> bool:
        """Whether this is fault `name` and `tokens` have been sent."""
        return self.name == name and tokens >= self.arg


def find_fault(header: str, prompt: str) -> Fault:
    """The fault a request asks for. Raises ValueError for a name that does not exist."""
    found = PROMPT.match(f"!fault={header}" if header else prompt)
    if not found:
        return Fault()
    if found[1] not in NAMES:
        raise ValueError(f"no fault {found[1]!r}; there are {', '.join(NAMES)}")
    return Fault(found[1], float(found[2] or 0))
