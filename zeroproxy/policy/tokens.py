"""Tokens (JWT) of callers: the engine asks about each once, this file answers.

Law 1. Every question is answered: an exchange waits for it (exchange/questions).
Law 2. A token stands for a key like those of the configuration, by issuer, name, tenant and models.
       So another token of the same caller finds its quotas as they were.
Law 3. Callers are bounded. Where a key of an issuer is gone, every token is verified again.
Tests: tests/e2e/test_jwt.py, tests/unit/test_jwt.py.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from zeroproxy._fast.engine.change import Change
from zeroproxy._fast.engine.engine import Engine
from zeroproxy.config.jwt import Jwt
from zeroproxy.config.schema import Auth, Key
from zeroproxy.policy.jwt_verifier import Refused, UnknownKey, Verified, verify
from zeroproxy.policy.key_sets import KeySet
from zeroproxy.tasks import cancel

log = logging.getLogger(__name__)

#: Callers with a token that is still good; more get 503.
CALLERS_MAX = 4096
#: Callers since the start: each keeps a slot of the engine.
CALLERS_EVER = 65536
#: Seconds for which a refusal is remembered.
REFUSED_FOR = 10.0

Verdict = Verified | Refused | UnknownKey


def judge(text: bytes, sets: Mapping[str, KeySet]) -> Verdict:
    try:
        return verify(text.decode("ascii"), sets)
    except (Refused, UnknownKey) as verdict:
        return verdict
    except Exception:
        log.exception("a token cannot be verified")
        return Refused("unread", "a fault of ours")


def final(verdict: Verdict, fresh: Collection[KeySet]) -> Verdict:
    """A key that is not in a fresh set is nobody's; else the set may be old."""
    if not isinstance(verdict, UnknownKey):
        return verdict
    return Refused("invalid", "kid") if verdict.key_set in fresh else Refused("unread", "keys")


class Tokens:
    """`admit` puts these keys in force beside those of the configuration; returns where the engine
    has each, by digest."""

    def __init__(self, engine: Engine, admit: Callable[[Sequence[Key]], Mapping[str, int]]) -> None:
        self._engine, self._admit = engine, admit
        self._issuers: tuple[Jwt, ...] = ()
        self._sets: dict[str, KeySet] = {}
        self._callers: dict[str, Verified] = {}  # by digest
        self._ever: set[str] = set()
        self._in_force: set[str] = set()  # of them, as the engine has it
        self._indices: dict[str, int] = {}
        self._refused = {"invalid": 0, "time": 0, "unread": 0}
        self._verified = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._renewal: asyncio.Task[None] | None = None

    # ------------------------------------------------------------ configuration

    def stage(self, change: Change, auth: Auth | None) -> Sequence[Key]:
        """Prepare another configuration; returns the callers that stay. Call `adopt` after it."""
        issuers = auth.jwt if auth is not None else ()
        if issuers == self._issuers:
            return self.keys()
        change.set_tokens(bool(issuers))
        return ()

    def adopt(self, auth: Auth | None) -> None:
        """Follow `stage`, which is in force."""
        issuers = auth.jwt if auth is not None else ()
        self._in_force = set(self._callers) if issuers == self._issuers else set()
        if issuers == self._issuers:
            return
        self._issuers = issuers
        self._callers.clear()
        self._sets = {one.issuer: KeySet(one, self._engine.forget_tokens) for one in issuers}
        if self._renewal is not None:
            self._renewal.cancel()
        self._renewal = asyncio.ensure_future(self._renew()) if issuers else None

    def keys(self) -> list[Key]:
        """The keys of callers whose tokens are still good."""
        now = time.time()
        self._callers = {k: one for k, one in self._callers.items() if one.until > now}
        return [one.key for one in self._callers.values()]

    async def _renew(self) -> None:
        """Read every set now, and again when its time is over."""
        due = dict.fromkeys(self._sets, 0.0)
        while True:
            now = time.monotonic()
            ready = [one for issuer, one in self._sets.items() if due.get(issuer, 0.0) <= now]
            await asyncio.gather(*(one.renew() for one in ready))
            for one in ready:
                due[one.settings.issuer] = time.monotonic() + one.settings.jwks_ttl
            await asyncio.sleep(max(min(due.values()) - time.monotonic(), 0.1))

    async def stop(self) -> None:
        await cancel(self._renewal, *self._tasks)
        self._renewal = None

    # ------------------------------------------------------------ questions

    def look(self) -> None:
        """Take the questions that are open, and answer them."""
        if questions := self._engine.questions():
            task = asyncio.ensure_future(self._answer(questions))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, questions: Sequence[tuple[int, bytes]]) -> None:
        since = time.monotonic()
        verdicts = await asyncio.to_thread(self._judge, questions)
        lacking = [q for q in questions if isinstance(verdicts[q[0]], UnknownKey)]
        self._settle({n: v for n, v in verdicts.items() if not isinstance(v, UnknownKey)})
        if not lacking:
            return
        sets = {v.key_set for v in verdicts.values() if isinstance(v, UnknownKey)}
        read = await asyncio.gather(*(one.renew_for_unknown(since) for one in sets))
        fresh = {one for one, is_read in zip(sets, read, strict=True) if is_read}
        verdicts = await asyncio.to_thread(self._judge, lacking)
        self._settle({n: final(v, fresh) for n, v in verdicts.items()})

    def _judge(self, questions: Sequence[tuple[int, bytes]]) -> dict[int, Verdict]:
        return {number: judge(text, self._sets) for number, text in questions}

    def _settle(self, verdicts: Mapping[int, Verdict]) -> None:
        good = [v for v in verdicts.values() if isinstance(v, Verified) and self._has_room(v)]
        admitted = self._put_in_force(good)
        for number, verdict in verdicts.items():
            if isinstance(verdict, Verified) and verdict.key.digest() in admitted:
                self._verified += 1
                lasts = max(verdict.until - time.time(), 0.0)
                self._engine.answer(number, key=self._indices[verdict.key.digest()], seconds=lasts)
                continue
            refusal = verdict.refusal if isinstance(verdict, Refused) else "unread"
            self._refused[refusal] += 1
            seconds = 0.0 if refusal == "unread" else REFUSED_FOR
            self._engine.answer(number, refusal=refusal, seconds=seconds)

    def _put_in_force(self, good: Sequence[Verified]) -> set[str]:
        """Give these callers their keys; returns the digests of those that have one."""
        digests = {one.key.digest() for one in good}
        before = dict(self._callers)
        self._callers.update((one.key.digest(), one) for one in self._latest(good))
        if digests <= self._in_force:
            return digests
        try:
            self._indices = dict(self._admit(self.keys()))
        except Exception:  # the engine's tables may be full
            log.exception("callers with tokens cannot be admitted")
            self._callers = before
            return digests & self._in_force
        self._in_force = set(self._callers)
        return digests & self._in_force

    def _latest(self, verdicts: Iterable[Verified]) -> list[Verified]:
        """Of one caller's tokens the one that is good for longest."""
        found = dict(self._callers)
        for one in verdicts:
            old = found.get(one.key.digest())
            if old is None or old.until < one.until:
                found[one.key.digest()] = one
        return list(found.values())

    def _has_room(self, one: Verified) -> bool:
        digest = one.key.digest()
        if digest in self._callers:
            return True
        if len(self._callers) >= CALLERS_MAX:
            self.keys()
        is_new = digest not in self._ever and len(self._ever) >= CALLERS_EVER
        if len(self._callers) >= CALLERS_MAX or is_new:
            log.warning("too many callers with tokens: another one is refused")
            return False
        self._ever.add(digest)
        return True

    def state(self) -> dict[str, Any]:
        """For /status and /metrics."""
        return {
            "callers": len(self._callers), "verified": self._verified,
            "refused": dict(self._refused),
            "issuers": [
                {"issuer": issuer, "keys": len(one.keys), "age_s": one.age(), "error": one.error}
                for issuer, one in self._sets.items()
            ],
        }  # fmt: skip
