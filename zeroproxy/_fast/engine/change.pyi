from collections.abc import Iterable
from types import TracebackType

from zeroproxy._fast.engine.settings_types import (
    EndpointSettings,
    ReportedLoad,
    Route,
    UpstreamSettings,
)
from zeroproxy._fast.engine.tls_context import Context
from zeroproxy.config.auth import Key
from zeroproxy.config.schema import Limits, Pool

class Change:
    def __enter__(self) -> Change: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    def set_limits(self, limits: Limits) -> None: ...
    def set_switches(self, *, via: bool, trust_forwarded: bool, serve_half_close: bool) -> None: ...
    def add_upstream(
        self, name: str, *, settings: UpstreamSettings, endpoints: Iterable[EndpointSettings] = ()
    ) -> int: ...
    def set_upstream(self, index: int, *, settings: UpstreamSettings) -> None: ...
    def set_tls(
        self, context: Context | None, *, upstream: int | None = None, server_name: bytes = b""
    ) -> None: ...
    def add_endpoint(self, index: int, *, settings: EndpointSettings) -> int: ...
    def remove_endpoint(self, index: int) -> None: ...
    def set_endpoint(
        self,
        index: int,
        *,
        up: bool | None = None,
        draining: bool | None = None,
        weight: int | None = None,
        usage_request: str | None = None,
        load: ReportedLoad | None = None,
        probe_ok: bool | None = None,
        loading: bool | None = None,
    ) -> None: ...
    def set_pool(self, index: int, *, settings: Pool) -> None: ...
    def set_routes(self, routes: Iterable[Route], *, default: int | None) -> None: ...
    def set_keys(self, keys: Iterable[Key] | None, *, forward: bool = False) -> list[int]: ...
