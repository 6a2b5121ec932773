"""Results of the Engine API, as typed dicts."""

from __future__ import annotations

from typing import TypedDict


class BreakerSample(TypedDict):
    """The circuit breaker of one endpoint."""

    state: str  # of enum_names.BREAKER_STATES
    in_a_row: int  # failures
    trips: int  # openings since an attempt last ended well
    to: dict[str, int]  # transitions, by the state they led to


class HealthSample(TypedDict):
    """One endpoint in force, as health needs it."""

    index: int
    inflight: int
    owed: int  # answers
    begun: int  # of them
    quiet_s: float  # without a body byte although one was owed
    last_data_s: float  # of the last byte, on the monotonic clock
    draining: bool
    breaker: BreakerSample
    due_s: float  # until an open breaker half opens


class LearnedSample(TypedDict):
    """All that was found out about one endpoint in force, by the fields of Learned."""

    upstream: str
    url: str
    limit: float
    is_open: bool
    due_s: float
    trips: int
    in_a_row: int
    is_unconfirmed: bool
    said_idle_s: float
    seen_idle_s: float
    said_max: int


class QuotaState(TypedDict):
    """One quota of a key in force."""

    index: int  # the key's
    key: str
    tenant: str
    quota: str  # of enum_names.QUOTAS
    per_minute: float
    level: float  # a debt is negative
    used: int  # since the start
    reserved: float  # for exchanges that run
    refused: int
    leased: bool  # it does not fill by itself


class KeyTermsState(TypedDict):
    """One key in force that has terms, or that has been refused for one."""

    index: int
    key: str
    tenant: str
    inflight: int
    max_inflight: int  # 0: no limit
    waiting: int  # for a place
    refused: dict[str, int]  # by enum_names.TERMS; those that are 0 left out
