"""Errors on demand: NAME or NAME=ARG in the header `x-sim-fault`, or first in the prompt (in the
last message of a chat) as `!fault=NAME=ARG `.

before the answer:
  status=N          HTTP status N and an error in the route's own shape; 429 and 503 say Retry-After
  slow-head=S       S seconds pass before the response head
  garbage-head      bytes that are no HTTP, then FIN
  half-head         half a response head, then FIN
  close-head        FIN without a byte
  reset-head        RST without a byte
in the answer:
  no-content-type   all of it, but without a Content-Type
  cut=N             RST after N tokens
  cut-mid-event=N   RST in the middle of the event after N tokens
  clean-cut=N       FIN after N tokens, without the last chunk
  error-event=N     after N tokens an error event (and [DONE]), as vLLM when its engine dies
  stall=N           after N tokens nothing more; the connection stays open

An answer that is not streamed is cut, or stalls, in the middle of its body; error-event is a 500.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

EARLY = ("status", "slow-head", "garbage-head", "half-head", "close-head", "reset-head")
LATE = ("cut", "cut-mid-event", "clean-cut", "error-event", "stall")
NAMES = (*EARLY, "no-content-type", *LATE)
REQUESTED = re.compile(r"([a-z-]+)(?:=(\d+(?:\.\d+)?))?(?:\s|$)")
PREFIX = "!fault="


@dataclass(frozen=True)
class Fault:
    name: str = ""
    arg: float = 0.0

    def is_due(self, tokens: int) -> bool:
        """True if it ends an answer of which `tokens` have been sent."""
        return self.name in LATE and tokens >= self.arg


def find_fault(header: str, prompt: str) -> Fault:
    """The fault a request asks for. Raises ValueError for one that does not exist."""
    requested = header or (prompt[len(PREFIX) :] if prompt.startswith(PREFIX) else "")
    if not requested:
        return Fault()
    found = REQUESTED.match(requested)
    if not found or found[1] not in NAMES:
        raise ValueError(f"no fault {requested.split()[0]!r}; there are {', '.join(NAMES)}")
    fault = Fault(found[1], float(found[2] or 0))
    if fault.name == "status" and not 400 <= fault.arg <= 599:
        raise ValueError("status wants a number from 400 to 599, as in status=503")
    return fault
