from collections.abc import Iterable
from types import TracebackType

from zeroproxy._fast.engine.settings_types import (
    EndpointSettings,
    Learned,
    ReportedLoad,
    Route,
    SurfaceSettings,
    UpstreamSettings,
)
from zeroproxy._fast.engine.tls_context import Context
from zeroproxy.config.auth import Key
from zeroproxy.config.cors import Cors
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
    def set_keepalive(self, after: float | None) -> None: ...
    def set_cors(self, cors: Cors) -> None: ...
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
        model_len: int | None = None,
        loading: bool | None = None,
    ) -> None: ...
    def set_pool(self, index: int, *, settings: Pool) -> None: ...
    def set_learned(self, index: int, *, learned: Learned) -> None: ...
    def set_routes(self, routes: Iterable[Route], *, default: int | None) -> None: ...
    def set_surfaces(self, surfaces: Iterable[SurfaceSettings]) -> None: ...
    def set_keys(
        self,
        keys: Iterable[Key] | None,
        *,
        forward: bool = False,
        headers: bool = False,
        salt_secret: bytes = b"",
        identity: str = "",
    ) -> list[int]: ...
    def set_tokens(self, is_on: bool) -> None: ...
