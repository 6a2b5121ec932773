from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict, Unpack

from zeroproxy._fast.engine.change import Change
from zeroproxy._fast.engine.thread import PlaneThread
from zeroproxy._fast.engine.tls_context import Context

IS_DEBUG: bool

class PoolWords(TypedDict):
    max_idle: int
    idle_timeout: float
    max_age: float
    max_requests: int
    max_connections: int
    learns: bool
    prewarm: int
    prewarm_idle: float

#: url, sockaddr, authority, weight, pool, and with TLS the host
EndpointSpec = (
    tuple[str, bytes, bytes, int, PoolWords] | tuple[str, bytes, bytes, int, PoolWords, bytes]
)

class BreakerWords(TypedDict):
    failures: int
    error_rate: float
    min_requests: int
    half_open_probes: int
    count_busy: bool
    window: float
    open_for: float
    slow_start: float

#: digest, name, tenant, priority, models, requests per minute, tokens per minute
KeyRow = tuple[bytes, str, str, int, Sequence[str], int, int]

class KeyWords(TypedDict):
    #: balance.KeySource, and the name of a header field in lower case
    on: Sequence[tuple[int, bytes]]
    prefix_bytes: int
    load_bound: float

class UpstreamWords(TypedDict):
    balance: int
    max_inflight: int
    min_inflight: NotRequired[int]
    ttft_target: NotRequired[float]
    tenant_share: NotRequired[float]
    hedge_after: NotRequired[float]
    hedge_budget: NotRequired[float]
    queue: int
    queue_timeout: float
    connect: float
    first_byte: float
    stream_idle: float
    total: float
    attempts: int
    retry_on_busy: bool
    breaker: NotRequired[BreakerWords]
    api_key: NotRequired[bytes]
    cookies: NotRequired[bool]
    key: NotRequired[KeyWords]

class Engine(PlaneThread):
    def __init__(
        self,
        *,
        limits: Any,
        via: bool = True,
        trust_forwarded: bool = False,
        serve_half_close: bool = False,
        ring_slots: int = 4096,
    ) -> None: ...
    def add_upstream(
        self,
        name: str,
        endpoints: Sequence[EndpointSpec],
        **words: Unpack[UpstreamWords],
    ) -> int: ...
    def change(self) -> Change: ...
    def set_limits(self, limits: Any) -> None: ...
    def set_switches(
        self, *, via: bool, trust_forwarded: bool, serve_half_close: bool = False
    ) -> None: ...
    def set_tracing(self, sample: float) -> None: ...
    def set_routes(self, routes: Sequence[tuple[str, int, bytes]], default: int | None) -> None: ...
    def set_models(self, body: bytes | None) -> None: ...
    def set_upstream(self, index: int, **words: Unpack[UpstreamWords]) -> None: ...
    def add_endpoint(self, index: int, spec: EndpointSpec) -> int: ...
    def set_tls(
        self,
        context: Context | None,
        *,
        upstream: int | None = None,
        server_name: bytes = b"",
    ) -> None: ...
    def remove_endpoint(self, index: int) -> None: ...
    def set_endpoint(
        self,
        index: int,
        *,
        up: bool | None = None,
        draining: bool | None = None,
        weight: int | None = None,
        usage_request: int | None = None,
        load: tuple[float, float, float, float] | None = None,
        probe_ok: bool | None = None,
    ) -> None: ...
    def set_pool(self, index: int, **words: Unpack[PoolWords]) -> None: ...
    def set_keys(self, rows: Sequence[KeyRow] | None, forward: bool = False) -> list[int]: ...
    def quotas(self, used_only: bool = False) -> list[dict[str, Any]]: ...
    def set_quota(self, index: int, quota: str, **words: float) -> None: ...
    def listen(self, fd: int, is_unix: bool = False) -> int: ...
    def stop_listening(self) -> None: ...
    def drain(self) -> None: ...
    def close_all(self) -> None: ...
    def busy(self) -> int: ...
    def snapshot(self) -> dict[str, Any]: ...
    def health_sample(
        self, after: float = 1.0, only: int | None = None
    ) -> list[dict[str, Any]]: ...
    def end_silent(self, index: int, seconds: float) -> int: ...
    def records(self, n: int) -> list[dict[str, Any]]: ...
    def await_records(self, n: int, seconds: float) -> None: ...
    def wake_consumer(self) -> None: ...
    def overflow(self) -> list[dict[str, Any]]: ...
    def take_overflow(self) -> list[dict[str, Any]]: ...
    def close(self) -> None: ...
