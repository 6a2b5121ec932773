"""Settings the Engine API takes, as typed objects.

What the configuration already has a type for is taken as that type: `Limits`, `Pool`, `Breaker`,
`Admission`, `Timeouts`, `Retry`, `Hedge`, `Hash` and `Key` (zeroproxy/config). The rest is here.
A struct knows its keys: one that is missing or unknown is a TypeError when it is made. Types and
ranges are checked where the engine reads it (engine/values.pyx).
"""

from __future__ import annotations

from zeroproxy.config.base import Base
from zeroproxy.config.schema import Admission, Breaker, Hash, Hedge, Pool, Retry, Timeouts


class UpstreamSettings(Base, frozen=True):
    """All that is configured of one upstream, its endpoints left out."""

    #: "round_robin", "least_inflight", "power_of_two", "consistent_hash" or "fastest".
    balance: str
    #: What a request's affinity is made of; only consistent_hash looks.
    hash: Hash
    admission: Admission
    timeouts: Timeouts
    retry: Retry
    hedge: Hedge
    #: Off with `failures` and `error_rate` 0.
    breaker: Breaker
    #: The upstream's own key; "": none.
    api_key: str
    #: A caller's cookies are passed on.
    cookies: bool


class EndpointSettings(Base, frozen=True):
    """One address of an upstream."""

    url: str
    #: A struct sockaddr of at most 128 bytes.
    sockaddr: bytes
    #: The Host field for requests that carry none; 264 bytes at most.
    authority: bytes
    pool: Pool
    #: At least 1.
    weight: int = 1
    #: The host of an https:// endpoint, shorter than 256 bytes; b"": in the clear.
    tls_host: bytes = b""


class Route(Base, frozen=True):
    """Requests for a model go to an upstream."""

    #: As callers ask for it; 256 bytes at most.
    model: str
    #: The index of the upstream.
    upstream: int
    #: As the server calls it; "": the same.
    serves: str = ""


class ReportedLoad(Base, frozen=True):
    """What a server reports of its own load."""

    running: float
    waiting: float
    #: Share of its cache that is used; -1: not reported.
    cache: float
    #: Seconds until the report is forgotten.
    lasts: float
