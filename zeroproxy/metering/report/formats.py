"""A report for programs: JSON, and CSV as in RFC 4180."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from typing import Any

from zeroproxy.metering.report.ledger_sums import EXACTNESS, Report, Sums


def numbers(sums: Sums) -> dict[str, Any]:
    """The figures of a row. Shares and the mean are None where there is nothing to divide by."""
    figures: dict[str, Any] = {
        "requests": sums.requests,
        "failed": sums.failed,
        "prompt_tokens": sums.prompt_tokens,
        "completion_tokens": sums.completion_tokens,
        "cached_tokens": sums.cached_tokens,
        "reasoning_tokens": sums.reasoning_tokens,
        "total_tokens": sums.total_tokens,
    }
    for exactness in EXACTNESS:
        figures[f"{exactness}_requests"] = sums.requests_by[exactness]
        figures[f"{exactness}_tokens"] = sums.tokens_by[exactness]
        figures[f"{exactness}_share"] = rounded(sums.share(exactness))
    figures["mean_ttft_s"] = rounded(sums.mean_ttft_s)
    return figures


def rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def flat_rows(report: Report) -> list[dict[str, Any]]:
    """The groups by name, then the figures."""
    return [
        {
            **{
                name: key if isinstance(key, str) else key.isoformat()
                for name, key in zip(report.query.by, row.keys, strict=True)
            },
            **numbers(row.sums),
        }
        for row in report.rows
    ]


def as_object(report: Report, now: datetime) -> dict[str, Any]:
    """since and until are the window's bounds; where none was set, the ledger's and now."""
    since = report.query.since or report.first
    until = report.query.until or now
    return {
        "since": since.astimezone(report.query.zone).isoformat() if since else None,
        "until": until.astimezone(report.query.zone).isoformat(),
        "by": list(report.query.by),
        "filters": dict(report.query.filters),
        "rows": flat_rows(report),
        "totals": numbers(report.totals),
        "notes": report.notes,
    }


def as_csv(report: Report) -> str:
    """A header and the rows. No totals: a sum of a column must not count everything twice."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([*report.query.by, *numbers(report.totals)])
    writer.writerows(row.values() for row in flat_rows(report))
    return out.getvalue()
