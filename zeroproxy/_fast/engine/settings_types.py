"""Settings the Engine API takes, as typed objects.

Types of the configuration are used as they are: `Limits`, `Pool`, `Breaker`, `Admission`,
`Timeouts`, `Retry`, `Hedge`, `Hash` and `Key` (zeroproxy/config). The others are here. A missing or
unknown key is a TypeError when the struct is made. Types and ranges are checked where the engine
reads it (engine/values.pyx).
"""

from __future__ import annotations

from zeroproxy.config.base import Base
from zeroproxy.config.schema import Admission, Breaker, Hash, Hedge, Pool, Retry, Timeouts


class UpstreamSettings(Base, frozen=True):
    """All that is configured of one upstream, its endpoints left out."""

    #: "round_robin", "least_inflight", "power_of_two", "consistent_hash" or "fastest".
    balance: str
    #: Sources of a request's affinity, for consistent_hash.
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
    #: Host of requests: "caller", "endpoint", or a value of its own.
    host: str = "caller"
    #: The header field for the priority of a caller's key: "vllm", "sglang" or "off".
    priority_field: str = "off"
    #: Callers that share a cache_salt: "tenant", "key" or "off".
    cache_salt: str = "off"


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


class SurfaceSettings(Base, frozen=True):
    """Requests that may reach an upstream, and what is taken from them."""

    #: Methods by path, WEBSOCKET among them; no method: all. A path that ends with "/*" is a
    #: prefix. None: every path passes.
    paths: dict[str, tuple[str, ...]] | None
    #: Names of header fields that are removed, and exceptions; a name that ends with "*" is a
    #: prefix. 4 to 40 bytes.
    strip_headers: tuple[str, ...]
    keep_headers: tuple[str, ...]
    #: Members of a JSON body that are refused, likewise; 64 names in all upstreams.
    refuse_fields: tuple[str, ...]


#: The largest number of a ReportedLoad, whose requests are kept in 32 bits.
LOAD_MOST = 1e9


class ReportedLoad(Base, frozen=True):
    """The load of a server, as it reports it itself; no number is above LOAD_MOST."""

    running: float
    waiting: float
    #: Share of its cache that is used; -1: not reported.
    cache: float
    #: Seconds until the report is forgotten.
    lasts: float


class Learned(Base, frozen=True):
    """Facts about an endpoint that another process has found out (LearnedSample)."""

    #: Of exchanges in flight, where it adapts itself; 0: there is none.
    limit: float
    #: Its breaker is open, or half open.
    is_open: bool
    #: Seconds until it half opens.
    due_s: float
    #: Openings since an attempt last ended well.
    trips: int
    #: Failures.
    in_a_row: int
    #: Closed again, and no attempt has ended well since.
    is_unconfirmed: bool
    #: Seconds that a conn may be idle: as announced, as observed; 0: not known.
    said_idle_s: float
    seen_idle_s: float
    #: Requests on one conn, as announced; 0: not known.
    said_max: int
