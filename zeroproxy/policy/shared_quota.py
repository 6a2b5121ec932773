"""Quotas that several proxies share: each takes its share from Redis in advance.

Law 1. No request waits for Redis. About once a second every key that is in use is settled. The
       proxy reports what was taken, and receives the level that may be taken here.
Law 2. A report holds the total since this proxy began. So one that arrives twice counts once, and
       tokens used while Redis is away are reported when it is back.
Law 3. A key that is idle here, and every key while Redis does not answer, fills by itself at its
       rate over the number of proxies. So the first burst after a pause needs no answer. Together
       the proxies may once let through what they held unseen, which is a debt paid later.
Tests: tests/e2e/test_shared_quotas.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from zeroproxy._fast.engine.result_types import QuotaState
from zeroproxy.config.schema import Auth, Shared
from zeroproxy.errors import ZeroproxyError, how_to_install
from zeroproxy.tasks import cancel

log = logging.getLogger(__name__)

IDLE = 60.0  # seconds without a request after which a key is idle
LIVE = 5.0  # seconds a proxy counts after its last sign of life
FORGET = 3600  # seconds Redis keeps the bucket of a key nobody uses
CONNECT_TIMEOUT = 1.0
LAST_REPORT = 1.0  # seconds the last report may take at the end

# KEYS: the proxies. ARGV: this one, seconds. Returns how many there are.
SIGN_OF_LIFE = """
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1e6
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
redis.call('EXPIRE', KEYS[1], 60)
return redis.call('ZCARD', KEYS[1])
"""

# A debt is ten minutes' worth at most, as in tenants/keys_and_quotas.pyx.
# KEYS: the bucket. ARGV: this proxy, number of proxies, seconds to keep it. Then four per quota:
# name, rate, used since this proxy began, used since the last answer. Returns a level for each.
SETTLE = """
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1e6
local n = math.max(1, tonumber(ARGV[2]))
local shares = {}
for i = 4, #ARGV, 4 do
  local quota, rate, used = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local cap = math.max(rate, n)
  local was = redis.call('HMGET', KEYS[1], quota, quota .. ':at', quota .. ':' .. ARGV[1])
  local level = cap
  if was[1] and was[2] then
    level = math.min(cap, tonumber(was[1]) + math.max(0, now - tonumber(was[2])) * rate / 60)
  end
  level = level - (was[3] and used - tonumber(was[3]) or tonumber(ARGV[i + 3]))
  level = math.max(level, -10 * cap)
  redis.call('HSET', KEYS[1], quota, string.format('%.6f', level),
    quota .. ':at', string.format('%.6f', now), quota .. ':' .. ARGV[1], ARGV[i + 2])
  shares[#shares + 1] = string.format('%.6f', level / n)
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return shares
"""


class Engine(Protocol):
    def quotas(self, *, used_only: bool = False) -> list[QuotaState]: ...

    def share_quota(self, index: int, *, quota: str, speed: float, cap: float) -> None: ...

    def grant_quota(
        self, index: int, *, quota: str, speed: float, level: float, used: int
    ) -> None: ...


@dataclass
class InUse:
    """A key that was used lately: its quotas as they stood then, by name."""

    since: float
    quotas: dict[str, QuotaState] = field(default_factory=dict)


def need_redis() -> None:
    """Blocks for an import. Raises ZeroproxyError."""
    try:
        importlib.import_module("redis.asyncio")
    except ImportError:
        raise ZeroproxyError(
            f"auth.shared needs the package redis: {how_to_install('redis')}"
        ) from None


def bucket_name(prefix: str, sha256: str) -> str:
    """The name of a key in Redis: not its digest, which belongs to the configuration."""
    return f"{prefix}:{hashlib.sha256(sha256.lower().encode()).hexdigest()[:32]}"


class Shares:
    """The quotas of all keys. Use it on the loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._id = secrets.token_hex(8)
        self._settings = Shared()
        self._names: dict[int, str] = {}
        self._in_use: dict[int, InUse] = {}
        self._reported: dict[tuple[int, str], int] = {}  # `used` of the last answer
        self._live = 1
        self._is_well = False
        self._failures = 0
        self._error = ""
        self._client: Any = None
        self._task: asyncio.Task[None] | None = None

    def watch(self, auth: Auth | None, indices: Mapping[str, int]) -> None:
        """These keys are in force; `indices`: where the engine has them, by digest."""
        settings = auth.shared if auth is not None else Shared()
        self._names = {k: bucket_name(settings.prefix, sha256) for sha256, k in indices.items()}
        self._in_use = {k: use for k, use in self._in_use.items() if k in self._names}
        self._reported = {
            where: used for where, used in self._reported.items() if where[0] in self._names
        }
        if settings != self._settings:
            self._settings = settings
            if self._task is not None:
                self._task.cancel()
                self._task = None
            self._live, self._is_well = 1, False
            self._in_use.clear()
            # Earlier use is nobody's debt there.
            self._reported = {(r["index"], r["quota"]): r["used"] for r in self._engine.quotas()}
            if settings.url:
                self._task = asyncio.ensure_future(self._run(settings))
        self._part_all()

    def state(self) -> dict[str, Any] | None:
        """For /status and /metrics; None: nothing is shared."""
        if not self._settings.url:
            return None
        return {
            "connected": self._is_well, "proxies": self._live, "keys_in_use": len(self._in_use),
            "failures": self._failures, "last_error": self._error,
        }  # fmt: skip

    async def stop(self) -> None:
        """Report the last use."""
        task, self._task = self._task, None
        await cancel(task)

    # ------------------------------------------------------------ parts

    def _part_all(self) -> None:
        """Every key that is not settled with Redis keeps to its part."""
        for row in self._engine.quotas():
            if row["index"] not in self._in_use or not self._is_well:
                self._part(row)

    def _part(self, row: QuotaState) -> None:
        rate = row["per_minute"]
        part = rate / self._live
        cap = rate if self._live == 1 else max(part, 1.0)
        self._engine.share_quota(row["index"], quota=row["quota"], speed=part, cap=cap)

    # ------------------------------------------------------------ the task

    async def _run(self, settings: Shared) -> None:
        await asyncio.to_thread(need_redis)
        client = self._open(settings)
        last = time.monotonic()
        try:
            while True:
                try:
                    await self._settle(client, settings)
                except Exception as error:  # a client library may raise anything
                    self._failures += 1
                    # Not its text, which may hold the URL.
                    self._error = type(error).__name__
                    if time.monotonic() - last >= settings.patience:
                        self._lost()
                else:
                    last = time.monotonic()
                    self._regained()
                await asyncio.sleep(settings.interval)
        finally:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(LAST_REPORT):
                    await self._leave(client, settings)
            with contextlib.suppress(Exception):
                await client.aclose()

    def _open(self, settings: Shared) -> Any:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        return Redis.from_url(
            settings.url,
            socket_connect_timeout=min(CONNECT_TIMEOUT, settings.patience),
            socket_timeout=settings.patience,
            retry=Retry(NoBackoff(), 0),
        )

    def _lost(self) -> None:
        if self._is_well or self._failures == 1:
            log.warning(f"auth.shared: Redis does not answer ({self._error}); each of {self._live} "
                        "proxies keeps to its part of the quotas")  # fmt: skip
        self._is_well = False
        self._part_all()

    def _regained(self) -> None:
        if not self._is_well and self._failures:
            log.info("auth.shared: Redis answers; quotas are shared again")
        self._is_well = True

    def _observe_use(self) -> None:
        """Which keys are in use, and how far."""
        now = time.monotonic()
        for row in self._engine.quotas(used_only=True):
            if row["index"] in self._names:
                use = self._in_use.setdefault(row["index"], InUse(now))
                use.since = now
                use.quotas[row["quota"]] = row
        for index in [k for k, use in self._in_use.items() if now - use.since > IDLE]:
            for row in self._in_use.pop(index).quotas.values():
                self._part(row)

    async def _settle(self, client: Any, settings: Shared) -> None:
        """One round trip: a sign of life, and all keys in use."""
        self._observe_use()
        in_use = [(k, list(use.quotas.values())) for k, use in self._in_use.items()]
        async with client.pipeline(transaction=False) as pipe:
            pipe.eval(SIGN_OF_LIFE, 1, f"{settings.prefix}:proxies", self._id, LIVE)
            for index, rows in in_use:
                arguments = [value for row in rows for value in self._arguments(row)]
                pipe.eval(SETTLE, 1, self._names[index], self._id, self._live, FORGET, *arguments)
            live, *answers = await pipe.execute()
        is_new = int(live) != self._live
        self._live = int(live)
        for (index, rows), levels in zip(in_use, answers, strict=True):
            for row, level in zip(rows, levels, strict=True):
                self._take(index, row, float(level))
        if is_new:
            self._part_all()

    def _arguments(self, row: QuotaState) -> tuple[object, ...]:
        since = row["used"] - self._reported.get((row["index"], row["quota"]), 0)
        return row["quota"], row["per_minute"], row["used"], since

    def _take(self, index: int, row: QuotaState, level: float) -> None:
        self._reported[index, row["quota"]] = row["used"]
        if index in self._in_use:
            speed = row["per_minute"] / self._live
            self._engine.grant_quota(
                index, quota=row["quota"], speed=speed, level=level, used=row["used"]
            )

    async def _leave(self, client: Any, settings: Shared) -> None:
        await self._settle(client, settings)
        await client.zrem(f"{settings.prefix}:proxies", self._id)
