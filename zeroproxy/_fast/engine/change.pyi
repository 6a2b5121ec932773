from collections.abc import Sequence
from types import TracebackType
from typing import Any, Unpack

from zeroproxy._fast.engine.engine import EndpointSpec, KeyRow, PoolWords, UpstreamWords
from zeroproxy._fast.engine.tls_context import Context

class Change:
    def __enter__(self) -> Change: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    def set_limits(self, limits: Any) -> None: ...
    def set_switches(
        self, *, via: bool, trust_forwarded: bool, serve_half_close: bool = False
    ) -> None: ...
    def add_upstream(
        self,
        name: str,
        endpoints: Sequence[EndpointSpec],
        **words: Unpack[UpstreamWords],
    ) -> int: ...
    def set_upstream(self, index: int, **words: Unpack[UpstreamWords]) -> None: ...
    def set_tls(
        self,
        context: Context | None,
        *,
        upstream: int | None = None,
        server_name: bytes = b"",
    ) -> None: ...
    def add_endpoint(self, index: int, spec: EndpointSpec) -> int: ...
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
    def set_routes(self, routes: Sequence[tuple[str, int, bytes]], default: int | None) -> None: ...
    def set_keys(self, rows: Sequence[KeyRow] | None, forward: bool = False) -> list[int]: ...
