"""Facts on each request from the simulators and the callers, and the bounds they set for a bill.

Whole: the count is known to the token. Aborted or failed: not less than the caller saw, and not
more than the engine made. Answers that were cut cleanly: the tokens that were written.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.support.asks import CLEAN
from tests.support.books import KINDS, ByModel
from tests.support.callers import Answer

Account = dict[str, Any]
NOTHING = {"prompt": 0, "cached": 0, "generated": 0, "written": 0, "reasoning": 0}


class Truth:
    """At least `low` and at most `high` tokens of each of KINDS."""

    def __init__(self, answer: Answer, account: Account | None) -> None:
        self.answer, self.ask = answer, answer.ask
        self.account = account or NOTHING
        known = self.account
        self.high = [known["prompt"], known["generated"], known["cached"], known["reasoning"]]
        self.low = [0, answer.tokens(), 0, 0]
        if self.is_whole:
            self.low = self.high
        elif self.ask.fault.startswith(CLEAN) and self.ask.streams and not self.ask.leaves:
            self.low[1] = self.high[1] = known["written"]

    @property
    def is_whole(self) -> bool:
        """The caller saw it end well."""
        return self.answer.is_whole and bool(self.account.get("finished"))

    def allows(self, found: list[int]) -> bool:
        each = zip(self.low, found, self.high, strict=True)
        return all(low <= value <= high for low, value, high in each)

    def told(self) -> bool:
        """True if the caller got the usage it had asked for, and nothing else."""
        said = self.answer.usage()
        if not self.ask.wants_usage and self.ask.kind != "embeddings":
            return not said
        wanted = {"prompt_tokens": self.high[0], "completion_tokens": self.high[1]}
        return {"completion_tokens": 0, **said}.items() >= wanted.items()

    def __repr__(self) -> str:
        return (
            f"{self.ask} {self.low}..{self.high} {self.account} {bytes(self.answer.body[-300:])!r}"
        )


def truths(answers: Iterable[Answer], accounts: list[Account]) -> dict[str, Truth]:
    """By request id. No request was given to an engine twice."""
    of = {account["request_id"]: account for account in accounts}
    assert len(of) == len(accounts)
    return {answer.ask.id: Truth(answer, of.get(answer.ask.id)) for answer in answers}


def bounds(found: Iterable[Truth]) -> tuple[ByModel, ByModel]:
    """Sums of `low` and of `high` by model."""
    low: ByModel = {}
    high: ByModel = {}
    for truth in found:
        for sums, values in ((low, truth.low), (high, truth.high)):
            row = sums.setdefault(truth.ask.model, [0] * len(KINDS))
            row[:] = [a + b for a, b in zip(row, values, strict=True)]
    return low, high
