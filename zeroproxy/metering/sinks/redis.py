"""Usage into a Redis stream: a script adds rows and notes how far it got, in one atomic step.

Law. A row is in the stream once, however often it is delivered: the script knows the last seq of
     each ledger. If Redis forgot (restart without persistence, FLUSHALL), it reports that,
     and the ledger sends again the rows it still has.
Tests: tests/e2e/test_sinks_real.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zeroproxy.errors import ZeroproxyError, how_to_install
from zeroproxy.metering.rows import Record
from zeroproxy.metering.schema import EXCHANGE_COLUMNS

CURSORS = "zeroproxy:cursors"  # a hash: ledger_id -> seq
CONNECT_TIMEOUT = 2.0
TIMEOUT = 5.0

# ARGV: ledger_id, the cursor of the ledger, maxlen, then for each row: seq, n, n arguments of XADD.
# Returns the seq up to which this Redis has everything.
SCRIPT = """
local last = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
local after = tonumber(ARGV[2])
if last < after then return last end
local maxlen = ARGV[3]
local i, word = 4, nil
while i <= #ARGV do
  local seq, n = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  if seq > last then
    if maxlen == '0' then
      redis.call('XADD', KEYS[2], '*', unpack(ARGV, i + 2, i + 1 + n))
    else
      redis.call('XADD', KEYS[2], 'MAXLEN', '~', maxlen, '*', unpack(ARGV, i + 2, i + 1 + n))
    end
    last, word = seq, ARGV[i]
  end
  i = i + 2 + n
end
if word then redis.call('HSET', KEYS[1], ARGV[1], word) end
return last
"""


def arguments_of(row: Record) -> list[str]:
    """seq, the number of arguments, and the fields and values of XADD; NULL is left out."""
    arguments = []
    for name in EXCHANGE_COLUMNS:
        if row[name] is not None:
            arguments += [name, str(row[name])]
    return [str(row["seq"]), str(len(arguments)), *arguments]


class RedisSink:
    def __init__(self, url: str, stream: str, maxlen: int) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError:
            raise ZeroproxyError(
                f"a redis sink needs the package redis: {how_to_install('redis')}"
            ) from None
        try:
            self._client = redis.Redis.from_url(
                url,
                socket_connect_timeout=CONNECT_TIMEOUT,
                socket_timeout=TIMEOUT,
                decode_responses=True,
                retry=Retry(NoBackoff(), 0),  # the feeder's business
            )
        except ValueError:
            # The library's own message may quote the URL.
            raise ZeroproxyError(
                "a redis sink's url is not one: redis://, rediss:// or unix://"
            ) from None
        self._url, self._stream, self._maxlen = url, stream, maxlen
        self._script: Any = self._client.register_script(SCRIPT)

    def deliver(self, ledger_id: str, after: int, rows: Sequence[Record]) -> int:
        arguments = [ledger_id, str(after), str(self._maxlen)]
        for row in rows:
            arguments += arguments_of(row)
        return int(self._script(keys=[CURSORS, self._stream], args=arguments))

    def probe(self) -> None:
        self._client.ping()

    def secrets(self) -> Sequence[str]:
        password = self._client.connection_pool.connection_kwargs.get("password") or ""
        return (self._url, str(password))

    def close(self) -> None:
        self._client.close()
