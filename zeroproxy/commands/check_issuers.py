"""`zeroproxy check` of issuers of tokens: their packages, and their sets of keys."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from zeroproxy.commands.check_report import Findings
from zeroproxy.config.jwt import Jwt
from zeroproxy.errors import ZeroproxyError
from zeroproxy.policy.key_sets import KeySet, need_jwt


async def check_issuers(findings: Findings, issuers: Sequence[Jwt], is_offline: bool) -> None:
    """A set that cannot be fetched is a warning: the proxy would start, and try again."""
    try:
        await asyncio.to_thread(need_jwt)
    except ZeroproxyError as error:
        findings.fail("auth.jwt", str(error))
        return
    for k, one in enumerate(issuers):
        key, is_file = f"auth.jwt[{k}].jwks", one.jwks.startswith("/")
        if is_offline and not is_file:
            continue
        found = KeySet(one, lambda: None)
        await found.renew()
        if not found.error:
            findings.ok(key, f"{len(found.keys)} keys of {one.issuer}")
        elif is_file:
            findings.fail(key, found.error)
        else:
            findings.warn(key, f"{one.jwks} {found.error}")
