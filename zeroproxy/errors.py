"""Errors of the control plane. The data plane has verdicts and outcomes instead."""

from __future__ import annotations


def one_line(text: str) -> str:
    """`text` with what is not printable escaped: quoted input must not break or fake a line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


#: Packages that optional features need, as pip names them: the extras of pyproject.toml, which no
#: package index knows by our name.
PACKAGES = {
    "otel": ("opentelemetry-exporter-otlp-proto-http>=1.37", "opentelemetry-sdk>=1.37"),
    "postgres": ("psycopg[binary]>=3.2",),
    "jwt": ("PyJWT[crypto]>=2.10",),
    "redis": ("redis>=5",),
}


def how_to_install(extra: str) -> str:
    return "pip install " + " ".join(f"'{package}'" for package in PACKAGES[extra])


class ZeroproxyError(Exception):
    """Everything this package raises on purpose; str() is a sentence for people."""


class ConfigError(ZeroproxyError):
    """A configuration that cannot be used: `file:line: key: what is wrong`, or, where the TOML
    itself is broken, `file:line:column: what is wrong`.

    `file`, `line` and `column` (1-based, 0: unknown), `key` and `message` are there for programs.
    """

    def __init__(
        self, message: str, *, file: str = "", line: int = 0, column: int = 0, key: str = ""
    ) -> None:
        self.file, self.line, self.column, self.key = file, line, column, key
        self.message = message
        where = ":".join(str(part) for part in (file, line, column) if part) if file else ""
        super().__init__(one_line(": ".join(part for part in (where, key, message) if part)))


class UsageError(ZeroproxyError):
    """Options of a command that make no sense."""


class UnresolvedError(ConfigError):
    """A name that has no address now; it may have one later."""


class ListenError(ZeroproxyError):
    """An address that cannot be listened on. `is_in_use`: because somebody listens there."""

    def __init__(self, message: str, *, is_in_use: bool = False) -> None:
        self.is_in_use = is_in_use
        super().__init__(message)


class ReloadError(ZeroproxyError):
    """A reload that was refused; the old configuration stays in force."""


class TlsError(ZeroproxyError):
    """A certificate, key or list of authorities that cannot be used, or no OpenSSL."""
