"""A query of a ledger, and its written form: `--since 24h`, `?by=model,tenant`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo

from zeroproxy.errors import ZeroproxyError, one_line

#: Groups of rows; all but the hour and the day are columns of the ledger.
GROUPS = ("model", "tenant", "endpoint", "upstream", "hour", "day", "exactness")

#: Columns that rows may be picked by.
FILTERS = ("model", "tenant", "endpoint", "upstream")

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
MOMENTS = (
    "24h (units s, m, h, d, w: so long ago), 2026-11-01 or 2026-11-01T09:30 (local time), "
    "or 2026-11-01T09:30:00Z"
)

# The whole years that SQLite's integers hold as nanoseconds.
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)

AGO = re.compile(r"([0-9]{1,12})([smhdw])")
DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
TIME = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?"
WRITTEN = re.compile(rf"{DATE}([Tt ]{TIME}([Zz]|[+-][0-9]{{2}}:[0-9]{{2}})?)?")


class QueryError(ZeroproxyError):
    """An invalid query. `name`: the parameter; `message`: what is allowed."""

    def __init__(self, name: str, message: str) -> None:
        self.name, self.message = name, one_line(message)
        super().__init__(f"{name}: {self.message}")


@dataclass(frozen=True)
class Query:
    """`since` is counted, `until` no more. None: from the beginning, to the end."""

    by: tuple[str, ...] = ("model",)
    since: datetime | None = None
    until: datetime | None = None
    filters: Mapping[str, str] = field(default_factory=dict)
    zone: tzinfo | None = None  # that of days and hours; None: the local one
    most_rows: int | None = None  # a report of more is refused

    def __post_init__(self) -> None:
        for name in self.by:
            if name not in GROUPS:
                raise QueryError("by", f'"{name}" is none of {", ".join(GROUPS)}')
        if not self.by or len(set(self.by)) < len(self.by):
            raise QueryError("by", f"it needs each of {', '.join(GROUPS)} once at most, and one")
        for name in self.filters:
            if name not in FILTERS:
                raise QueryError(name, f"rows can be picked by {', '.join(FILTERS)}")
        for name, moment in (("since", self.since), ("until", self.until)):
            if moment is not None and moment.tzinfo is None:
                raise QueryError(name, "a moment needs a time zone")
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise QueryError("until", "it must be later than since")


def parse_by(text: str) -> tuple[str, ...]:
    """Groups out of `model,tenant`. Query refuses those that do not exist."""
    return tuple(name.strip() for name in text.split(","))


def parse_moment(name: str, text: str, now: datetime) -> datetime:
    """A moment. Without a zone it is local time. Raises QueryError for the parameter `name`."""
    refused = QueryError(name, f'"{text}" is no moment; it can be {MOMENTS}')
    try:
        if ago := AGO.fullmatch(text):
            moment = now - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        elif WRITTEN.fullmatch(text):
            moment = datetime.fromisoformat(text.upper())
        else:
            raise refused
        if moment.tzinfo is None:
            moment = moment.astimezone()
        if not EARLIEST <= moment < LATEST:
            raise QueryError(name, f'"{text}" is outside of the years 1970 to 2261')
    except (ValueError, OverflowError):
        raise refused from None
    return moment


def parse_query(parameters: Mapping[str, str | None], now: datetime) -> Query:
    """The query of `parameters`: by, since, until and the filters; None or absent: not set.

    Raises QueryError. Other parameters are ignored.
    """
    since, until = parameters.get("since"), parameters.get("until")
    by = parameters.get("by")
    return Query(
        by=("model",) if by is None else parse_by(by),
        since=None if since is None else parse_moment("since", since, now),
        until=None if until is None else parse_moment("until", until, now),
        filters={n: value for n in FILTERS if (value := parameters.get(n)) is not None},
    )
