"""Measurements of one URL: counts, failures by kind, and how long things took."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from zeroproxy.loadtest.histogram import Histogram

TIMES = ("ttft", "gap", "per_token", "total")


@dataclass
class Inside:
    """Arrivals while the window was open: rates are made of them."""

    seconds: float = 0.0
    own_cpu: float = 0.0  # seconds of this process
    own_waited: float = 0.0  # seconds it could not run because others did
    answers: int = 0
    texts: int = 0
    tokens: int = 0  # of answers that ended inside

    def add(self, other: Inside) -> None:
        for name in ("seconds", "own_cpu", "own_waited", "answers", "texts", "tokens"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass
class Tally:
    """One slice, or several added up. `sent == answered + failed + abandoned` at its end."""

    sent: int = 0
    answered: int = 0  # to the right ending
    abandoned: int = 0  # given up by the second Ctrl-C
    failures: Counter[str] = field(default_factory=Counter)
    said: dict[str, str] = field(default_factory=dict)  # what the first failure of a kind said
    texts: int = 0  # events with text of all answers, broken ones as well
    prompt_tokens: int = 0  # these two by the server's usage, of answers that gave it
    tokens: int = 0
    with_usage: int = 0  # answered, with usage
    counted_texts: int = 0  # events with text of those
    inside: Inside = field(default_factory=Inside)
    times: dict[str, Histogram] = field(
        default_factory=lambda: {name: Histogram() for name in TIMES}
    )

    @property
    def failed(self) -> int:
        return self.failures.total()

    @property
    def open(self) -> int:
        return self.sent - self.answered - self.failed - self.abandoned

    def fail(self, kind: str, said: str) -> None:
        self.failures[kind] += 1
        self.said.setdefault(kind, said)

    def merge(self, other: Tally) -> None:
        for name in ("sent", "answered", "abandoned", "texts", "prompt_tokens", "tokens"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.with_usage += other.with_usage
        self.counted_texts += other.counted_texts
        self.failures += other.failures
        self.said = other.said | self.said
        self.inside.add(other.inside)
        for name, histogram in self.times.items():
            histogram.merge(other.times[name])

    # ------------------------------------------------------------ figures

    @property
    def counts_by_usage(self) -> bool:
        """True if every answer gave its number of tokens."""
        return self.answered > 0 and self.with_usage == self.answered

    def tokens_per_second(self, streams: bool) -> float | None:
        """Events inside the window, times the tokens that an event has by the servers' usage (one,
        if a server said nothing). Answers that are no event streams count when they end."""
        seconds = self.inside.seconds
        if not seconds:
            return None
        if not streams:
            return self.inside.tokens / seconds if self.counts_by_usage else None
        share = self.tokens / self.counted_texts if self.counts_by_usage and self.texts else 1.0
        return self.inside.texts * share / seconds

    def per_second(self, name: str) -> float | None:
        """Of something that is counted inside the window."""
        seconds = self.inside.seconds
        return float(getattr(self.inside, name)) / seconds if seconds else None

    def summary(self, streams: bool) -> dict[str, Any]:
        """As the JSON keeps it."""
        return {
            "asked": self.sent,
            "answered": self.answered,
            "failed": self.failed,
            "failures": dict(self.failures.most_common()),
            "said": self.said,
            "abandoned": self.abandoned,
            "success_rate": self.answered / self.sent if self.sent else None,
            "events_with_text": self.texts,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.tokens,
            "tokens_by": "usage" if self.counts_by_usage else "events" if streams else None,
            "window_s": self.inside.seconds,
            "answers_per_s": self.per_second("answers"),
            "tokens_per_s": self.tokens_per_second(streams),
            "events_per_s": self.per_second("texts"),
            "own_core": self.per_second("own_cpu"),
            "own_waited": self.per_second("own_waited"),
            **{f"{name}_s": times.summary() for name, times in self.times.items()},
        }
