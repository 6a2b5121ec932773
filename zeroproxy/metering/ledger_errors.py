"""Reasons why a ledger cannot be used: damaged, not now, or not at all."""

from __future__ import annotations

import errno
import sqlite3

from zeroproxy.errors import ZeroproxyError


class LedgerDamaged(ZeroproxyError):
    """The file is a ledger, and broken."""


class LedgerUnavailable(ZeroproxyError):
    """It cannot be used now; later it may be."""


PASSING = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED,
           sqlite3.SQLITE_NOMEM)  # fmt: skip


def kind_of(error: Exception) -> type[ZeroproxyError]:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_CORRUPT:
        return LedgerDamaged
    number = getattr(error, "errno", 0)
    if code in PASSING or number in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
        return LedgerUnavailable
    return ZeroproxyError


def is_damage(error: Exception) -> bool:
    return isinstance(error, LedgerDamaged) or kind_of(error) is LedgerDamaged


def why(error: sqlite3.Error) -> str:
    """SQLite's message as the end of a sentence that begins with the file."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return "is no SQLite database"
    if code == sqlite3.SQLITE_CORRUPT:
        return f"is damaged ({error}); keep a copy, then repair it with sqlite3 .recover"
    return f"cannot be used: {error}"
