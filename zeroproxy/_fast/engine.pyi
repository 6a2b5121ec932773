from collections.abc import Sequence
from typing import Any

IS_DEBUG: bool

class Engine:
    def __init__(
        self,
        *,
        limits: Any,
        via: bool = True,
        trust_forwarded: bool = False,
        ring_slots: int = 4096,
    ) -> None: ...
    def add_upstream(
        self,
        name: str,
        endpoints: Sequence[tuple[str, bytes, bytes, int, int, float]],
        *,
        balance: int,
        max_inflight: int,
        queue: int,
        queue_timeout: float,
        connect: float,
        first_byte: float,
        stream_idle: float,
        total: float,
        attempts: int,
        retry_on_busy: bool,
    ) -> int: ...
    def set_endpoint(
        self,
        index: int,
        *,
        up: bool | None = None,
        draining: bool | None = None,
        weight: int | None = None,
    ) -> None: ...
    def prewarm(self, index: int, n: int) -> int: ...
    def listen(self, fd: int, is_unix: bool = False) -> int: ...
    def stop_listening(self) -> None: ...
    def fileno(self) -> int: ...
    def on_ready(self) -> bool: ...
    def drain(self) -> None: ...
    def close_all(self) -> None: ...
    def busy(self) -> int: ...
    def snapshot(self) -> dict[str, Any]: ...
    def records(self, n: int) -> list[dict[str, Any]]: ...
    def close(self) -> None: ...
