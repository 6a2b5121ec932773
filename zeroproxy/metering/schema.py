"""The ledger's tables. SQLite, WAL; the version stands in PRAGMA user_version.

Law 1. Tables and columns are a contract with all that query the file: a change raises VERSION and
       comes with a migration.
Law 2. `exchange` is the detail and the outbox; it is pruned. `hourly` is what bills are made from:
       every row of `exchange` is counted in it in the same transaction, and it outlives the detail.
Law 3. Token columns are NULL where the server gave none: unknown is not zero. In `hourly`, which
       adds up, unknown counts as nothing, and `exactness` keeps such rows apart.
Tests: tests/unit/test_ledger.py.
"""

from __future__ import annotations

VERSION = 1

#: Columns of `exchange` that come from a record, in the order of the table.
EXCHANGE_COLUMNS = (
    "id", "time_ns", "count", "request_id", "trace_id", "span_id", "upstream", "endpoint", "model",
    "tenant", "method", "path", "status", "outcome", "finish", "exactness", "tried", "events",
    "bytes_in", "bytes_out", "queue_ns", "connect_ns", "ttft_ns", "gap_mean_ns", "gap_max_ns",
    "total_ns", "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens",
)  # fmt: skip

#: The key of a row of `hourly`.
HOURLY_KEY = ("hour", "upstream", "endpoint", "model", "tenant", "exactness")

#: Columns that add up in it. `failed`: exchanges whose outcome is neither "ok" nor "overflow", or
#: whose finish is "error". An error is a status of 400 or more, or one inside the answer.
HOURLY_SUMS = (
    "requests", "failed", "prompt_tokens", "completion_tokens", "cached_tokens",
    "reasoning_tokens", "bytes_in", "bytes_out", "total_ns", "ttft_ns", "ttft_count",
)  # fmt: skip

TABLES = """
CREATE TABLE exchange (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- order in the outbox; never used twice
    id TEXT NOT NULL UNIQUE,                -- idempotency key, unique across processes and restarts
    time_ns INTEGER NOT NULL,               -- when it began, Unix time in ns
    count INTEGER NOT NULL DEFAULT 1,       -- exchanges in this row; > 1 if the ring was full
    request_id TEXT NOT NULL DEFAULT '',
    trace_id TEXT NOT NULL DEFAULT '',
    span_id TEXT NOT NULL DEFAULT '',
    upstream TEXT NOT NULL DEFAULT '',
    endpoint TEXT NOT NULL DEFAULT '',
    model TEXT NOT NULL DEFAULT '',
    tenant TEXT NOT NULL DEFAULT '',
    method TEXT NOT NULL DEFAULT '',
    path TEXT NOT NULL DEFAULT '',
    status INTEGER NOT NULL DEFAULT 0,
    outcome TEXT NOT NULL,                  -- "ok", or who/phase/why
    finish TEXT NOT NULL DEFAULT '',        -- done, error, cut, or '' where nothing was metered
    exactness TEXT NOT NULL,                -- exact, lower_bound, none, untrusted, uncounted
    tried INTEGER NOT NULL DEFAULT 0,
    events INTEGER NOT NULL DEFAULT 0,
    bytes_in INTEGER NOT NULL DEFAULT 0,
    bytes_out INTEGER NOT NULL DEFAULT 0,
    queue_ns INTEGER NOT NULL DEFAULT 0,    -- durations; 0: did not happen
    connect_ns INTEGER NOT NULL DEFAULT 0,
    ttft_ns INTEGER NOT NULL DEFAULT 0,
    gap_mean_ns INTEGER NOT NULL DEFAULT 0, -- between two reads of a streamed response
    gap_max_ns INTEGER NOT NULL DEFAULT 0,
    total_ns INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    cached_tokens INTEGER,
    reasoning_tokens INTEGER
) STRICT;
CREATE INDEX exchange_time ON exchange (time_ns);
CREATE TABLE hourly (
    hour INTEGER NOT NULL,                  -- Unix time in seconds of the hour's begin
    upstream TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    model TEXT NOT NULL,
    tenant TEXT NOT NULL,
    exactness TEXT NOT NULL,
    requests INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens INTEGER NOT NULL DEFAULT 0,
    bytes_in INTEGER NOT NULL DEFAULT 0,
    bytes_out INTEGER NOT NULL DEFAULT 0,
    total_ns INTEGER NOT NULL DEFAULT 0,
    ttft_ns INTEGER NOT NULL DEFAULT 0,     -- sum over the ttft_count exchanges that had one
    ttft_count INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (hour, upstream, endpoint, model, tenant, exactness)
) STRICT, WITHOUT ROWID;
CREATE TABLE cursor (                       -- how far each outbox sink has got
    sink TEXT PRIMARY KEY,
    seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE meta (
    name TEXT PRIMARY KEY,                  -- "ledger_id": a random id of this file
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""
