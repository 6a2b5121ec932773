"""The output of `zeroproxy check`: findings, what the proxy would do, whether it would start."""

from __future__ import annotations

from dataclasses import dataclass, field

from zeroproxy.config.schema import Config, Upstream
from zeroproxy.config.secret_files import name_of

SHOWN = 8  # models of an upstream that are named


@dataclass
class Findings:
    rows: list[tuple[str, str, str]] = field(default_factory=list)
    errors: int = 0

    def ok(self, what: str, message: str) -> None:
        self.rows.append((what, "ok", message))

    def warn(self, what: str, message: str) -> None:
        self.rows.append((what, "warning", message))

    def fail(self, what: str, message: str) -> None:
        self.rows.append((what, "error", message))
        self.errors += 1

    def verdict(self, path: str) -> str:
        """The closing line."""
        warnings = sum(state == "warning" for _, state, _ in self.rows)
        parts = [
            f"{n} {what}{'s' if n > 1 else ''}"
            for n, what in ((self.errors, "error"), (warnings, "warning"))
            if n
        ]
        if self.errors:
            return f"{path}: {', '.join(parts)}: it would not start"
        return f"{path}: the configuration is valid{'; ' + parts[0] if parts else ''}"


# ---------------------------------------------------------------- what it would do


def models_of(upstream: Upstream) -> str:
    """Its models as callers and the server spell them."""
    names = [
        m.name if m.name == m.serves else f"{m.name} (as {m.serves})" for m in upstream.all_models()
    ]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"model{'s' if len(names) > 1 else ''} {', '.join(names[:SHOWN])}{more}"


def describe_routes(config: Config) -> str:
    """Which upstream gets what."""
    rest = [u for u in config.upstream if not u.models]
    if len(config.upstream) == 1 and rest:
        return f'would send everything to "{rest[0].name}"'
    routes = [f'{models_of(u)} to "{u.name}"' for u in config.upstream if u.models]
    routes += [f'all else to "{u.name}"' for u in rest] or ["no other model"]
    return "would send " + ", ".join(routes)


def describe_upstream(upstream: Upstream) -> list[str]:
    t, admission = upstream.timeouts, upstream.admission
    queue = "no limit in flight"
    if admission.max_inflight or admission.ttft_target:
        queue = f"at most {admission.max_inflight or 'as many as answer in time'} in flight "
        queue += f"at each, {admission.queue} may wait"
    return [
        f'"{upstream.name}": {len(upstream.endpoints)} endpoint(s), {upstream.balance}, {queue}',
        f'"{upstream.name}": would wait {seconds(t.connect)} for a connection, '
        f"{seconds(t.first_byte)} for the first byte, {seconds(t.stream_idle)} between two, and "
        f"try {upstream.retry.attempts} time(s)",
    ]


def describe(config: Config) -> list[str]:
    lines = [
        f"would listen on {', '.join(config.listens())}"
        + (f", admin on {config.admin.listen}" if config.admin.listen else ", no admin"),
        describe_routes(config),
    ]
    for upstream in config.upstream:
        lines += describe_upstream(upstream)
    m = config.metering
    if m.ledger:
        kept = f"for {m.retention_days} days" if m.retention_days else "for ever"
        on = f" and on to {', '.join(map(name_of, m.sinks))}" if m.sinks else ""
        lines.append(f"would write usage to {m.ledger}, kept {kept}{on}")
    return lines


def seconds(value: float) -> str:
    return f"{value:g} s" if value else "without limit"


# ---------------------------------------------------------------- how it is printed


def print_plain(findings: Findings) -> None:
    if not findings.rows:
        return
    widths = [max(len(row[k]) for row in findings.rows) for k in (0, 1)]
    for what, state, message in findings.rows:
        print(f"{what:<{widths[0]}}  {state:<{widths[1]}}  {message}")


def print_coloured(findings: Findings) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    colours = {"ok": "green", "warning": "yellow", "error": "red"}
    for what, state, message in findings.rows:
        # Text, because "[::1]" and paths are not markup.
        table.add_row(Text(what), Text(state, colours[state]), Text(message))
    Console(highlight=False).print(table)
