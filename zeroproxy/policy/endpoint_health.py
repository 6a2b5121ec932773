"""One endpoint as health sees it: the answers to its probes, and the state they lead to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from zeroproxy.config.schema import Health as Settings
from zeroproxy.policy.http_client import get_status, why
from zeroproxy.policy.socket_addresses import Address, WatchedEndpoint
from zeroproxy.policy.wedge import HangDetector

LATE = "no answer within {:g} s"
#: It is there and wants a key.
WANTS_A_KEY = (401, 403)
#: Answers of a server without that page. It is well; only a preset knows better.
NO_SUCH_PAGE = (404, 405, 501)


class Answer(NamedTuple):
    """To one probe."""

    wrong: str = ""  # empty: a good one
    is_none: bool = False  # nobody accepts connections, or answers them


@dataclass
class EndpointHealth:
    """The state of one endpoint."""

    endpoint: WatchedEndpoint
    is_sick: bool = False
    probe_ok: bool | None = None  # the engine's setting; None: nothing was reported yet
    reason: str = ""  # why it is not well, or what was wrong last
    bad: int = 0  # answers in a row
    well: int = 0
    probes: int = 0
    ended: int = 0  # exchanges, because it was gone
    due: float = 0.0
    last_well: float = 0.0
    out_after: float = 0.0  # seconds from the last good answer until it was taken out
    hang: HangDetector = field(default_factory=HangDetector)
    probing: asyncio.Task[None] | None = None
    trial: asyncio.Task[None] | None = None

    @property
    def is_well(self) -> bool:
        return not self.is_sick and not self.hang.is_wedged

    @property
    def is_probed(self) -> bool:
        """A probe is under way."""
        return self.probing is not None and not self.probing.done()

    def note(self, answer: Answer, settings: Settings, began: float, now: float) -> None:
        self.probes += 1
        if answer.wrong:
            self.bad, self.well = self.bad + 1, 0
            if self.bad >= settings.unhealthy_after:
                if not self.is_sick and self.last_well:
                    self.out_after = now - self.last_well
                self.is_sick = True
        else:
            self.bad, self.well = 0, self.well + 1
            self.last_well = now
            if self.well >= settings.healthy_after:
                self.is_sick = False
        if (self.bad and not self.is_sick) or (self.well and self.is_sick):
            self.due = min(self.due, began + settings.interval / 2)

    def end(self) -> list[asyncio.Task[None]]:
        """Cancel its probes."""
        tasks = [task for task in (self.probing, self.trial) if task is not None]
        self.probing = self.trial = None
        for task in tasks:
            task.cancel()
        return tasks

    def snapshot(self) -> dict[str, Any]:
        return {
            "wedged": self.hang.is_wedged, "bad_in_a_row": self.bad,
            "well_in_a_row": self.well, "asked": self.probes, "ended": self.ended,
            "out_after_s": round(self.out_after, 3),
        }  # fmt: skip


async def probe(address: Address, settings: Settings, is_guess: bool) -> Answer:
    """Ask one endpoint once. `is_guess`: it is not known that the path exists."""
    try:
        status = await get_status(address, settings.path, settings.timeout)
    except TimeoutError:
        return Answer(LATE.format(settings.timeout), is_none=True)
    except OSError as error:
        return Answer(why(error), is_none=True)
    if status == settings.expect or status in WANTS_A_KEY:
        return Answer()
    if is_guess and status in NO_SUCH_PAGE:
        return Answer()
    if status == 0:
        return Answer("the answer is no valid HTTP")
    return Answer(f"GET {settings.path} returned {status}")
