"""Answers as they were sent, one by one: the truth that a proxy's counts are compared with."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(slots=True)
class Account:
    """Of one answer that was begun. Tokens as the simulator's own usage counts them.

    `generated` is counted before a write, `written` after it: what reached the peer of an answer
    that was cut lies between the two."""

    request_id: str  # the X-Request-Id it came with
    path: str
    model: str
    prompt: int = 0
    cached: int = 0
    generated: int = 0
    written: int = 0
    reasoning: int = 0  # of `generated`
    finished: bool = False  # sent to its end


class Accounts:
    """The last `most` of them; the oldest go first."""

    def __init__(self, most: int) -> None:
        self._kept: deque[Account] = deque(maxlen=most)

    def open(self, request_id: str, path: str, model: str) -> Account:
        account = Account(request_id, path, model)
        self._kept.append(account)
        return account

    def as_list(self) -> list[dict[str, Any]]:
        return [asdict(account) for account in self._kept]
