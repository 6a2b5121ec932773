"""The endpoints in rotation, and the reason why another is not. One object decides.

Law 1. Health reports which endpoints are well, warm-up which are cold. Rotation decides, and writes
       the engine's `up`; no other part does. An operator's drain and a breaker are not its own.
Law 2. Leaving rotation cuts nothing: exchanges that run there go on.
Law 3. A cold endpoint is out as long as a warm one of its upstream takes requests. Without one it
       is used: late is better than never.
Law 4. In before out: the cold ones enter before the last warm one leaves, and leave once one is in.
Tests: tests/unit/test_rotation.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Any, Protocol

from zeroproxy._fast.engine.result_types import HealthSample
from zeroproxy.policy.socket_addresses import Group, WatchedEndpoint

log = logging.getLogger(__name__)

COLD = "it is being warmed up"


class Engine(Protocol):
    def set_endpoint(self, index: int, *, up: bool | None = None) -> None: ...

    def health_sample(self, *, only: int | None = None) -> list[HealthSample]: ...


@dataclass
class Entry:
    """The reports on one endpoint, and the decision."""

    endpoint: WatchedEndpoint
    upstream: int
    is_well: bool = True
    doubt: str = ""  # of health: why it is not well, or what was wrong last
    is_cold: bool = False
    is_in: bool = True
    changes: int = 0

    @property
    def reason(self) -> str:
        """The reason why it is out; of one that is in, the doubt of health."""
        return COLD if self.is_well and not self.is_in else self.doubt


class Rotation:
    """All upstreams. `drained` gives the endpoints that the operator drains. Use it on the loop."""

    def __init__(self, engine: Engine, drained: Callable[[], Set[int]] = frozenset) -> None:
        self._engine, self._drained = engine, drained
        self._entries: dict[int, Entry] = {}
        self._on_recovery: list[Callable[[int], None]] = []

    def watch(self, groups: Sequence[Group]) -> None:
        """These are in force. New ones are in, well and warm, until a report differs."""
        known, self._entries = self._entries, {}
        for k, (_, endpoints) in enumerate(groups):
            for endpoint in endpoints:
                self._entries[endpoint.index] = known.get(endpoint.index) or Entry(endpoint, k)

    def on_recovery(self, listener: Callable[[int], None]) -> None:
        """Call `listener` when an endpoint is well again, before it is back: the server may have
        been started anew, or be another."""
        self._on_recovery.append(listener)

    # ------------------------------------------------------------ reports

    def report_health(self, index: int, is_well: bool, doubt: str) -> None:
        entry = self._entries.get(index)
        if entry is None:
            return
        was_well, entry.is_well, entry.doubt = entry.is_well, is_well, doubt
        if is_well and not was_well:
            for listener in self._on_recovery:
                listener(index)
            self._decide(entry)
        if is_well != was_well:
            self._reconsider(entry.upstream)
        self._decide(entry)

    def report_warmth(self, index: int, is_cold: bool) -> None:
        """Changes nothing before the next report of health, or `reconsider`: when several are cold
        at once, none shall leave for the sake of another."""
        if index in self._entries:
            self._entries[index].is_cold = is_cold

    def reconsider(self) -> None:
        """One is no longer cold, or a warm one no longer takes requests."""
        for entry in self._entries.values():
            if entry.is_well:
                self._decide(entry)

    # ------------------------------------------------------------ the decision

    def _reconsider(self, upstream: int) -> None:
        for entry in self._entries.values():
            if entry.is_well and entry.upstream == upstream:
                self._decide(entry)

    def _decide(self, entry: Entry) -> None:
        is_kept_out = entry.is_well and entry.is_cold and self._has_warm(entry.upstream)
        is_in = entry.is_well and not is_kept_out
        if is_in == entry.is_in:
            return
        entry.is_in = is_in
        entry.changes += 1
        self._engine.set_endpoint(entry.endpoint.index, up=is_in)
        now = "back in rotation" if is_in else f"out: {entry.reason}"
        level = logging.INFO if is_in or is_kept_out else logging.WARNING
        log.log(level, f"{entry.endpoint.address.url} is {now}")

    def _has_warm(self, upstream: int) -> bool:
        """True where a warm endpoint takes requests."""
        closed = {
            v["index"]
            for v in self._engine.health_sample()
            if v["draining"] or v["breaker"]["state"] == "open"
        }
        return any(
            entry.is_well and not entry.is_cold and index not in closed
            for index, entry in self._entries.items()
            if entry.upstream == upstream
        )

    # ------------------------------------------------------------ readers

    def reasons(self) -> list[str]:
        """The reasons why no endpoint is in rotation; empty: one is. A breaker alone keeps none out
        where there is no other (upstream/breaker.pyx, law 5)."""
        drained = self._drained()
        if any(e.is_in and index not in drained for index, e in self._entries.items()):
            return []
        return [
            f"{e.endpoint.address.url}: "
            + ("it is being drained" if index in drained else e.reason)
            for index, e in self._entries.items()
        ]

    def snapshot(self, index: int) -> dict[str, Any]:
        entry = self._entries[index]
        return {"up": entry.is_in, "reason": entry.reason, "changes": entry.changes}
