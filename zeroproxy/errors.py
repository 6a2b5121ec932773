"""Errors of the control plane. The data plane has verdicts and outcomes instead."""

from __future__ import annotations


class ZeroproxyError(Exception):
    """Everything this package raises on purpose; str() is a sentence for people."""


class ConfigError(ZeroproxyError):
    """A configuration that cannot be used: `file:line: key: what is wrong`.

    `file`, `line` (1-based, 0: unknown) and `key` are there for programs.
    """

    def __init__(self, message: str, *, file: str = "", line: int = 0, key: str = "") -> None:
        self.file, self.line, self.key, self.message = file, line, key, message
        where = f"{file}:{line}" if file and line else file
        super().__init__(": ".join(part for part in (where, key, message) if part))


class ListenError(ZeroproxyError):
    """An address that cannot be listened on."""


class ReloadError(ZeroproxyError):
    """A reload that was refused; the old configuration stays in force."""
