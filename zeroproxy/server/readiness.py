"""The reasons why a worker is not ready for traffic."""

from __future__ import annotations

from typing import Protocol

from zeroproxy._fast.engine.engine import Engine
from zeroproxy.config.schema import Config
from zeroproxy.policy.proxy_readiness import Readiness
from zeroproxy.policy.rotation import Rotation
from zeroproxy.policy.warmup_requests import Warmups
from zeroproxy.server.endpoints import EndpointSet


class Parts(Protocol):
    """The parts of a worker that can be unready."""

    config: Config
    engine: Engine | None
    endpoint_set: EndpointSet | None
    readiness: Readiness
    rotation: Rotation | None
    warmups: Warmups | None


class Lacks:
    """Of one worker, whatever its phase. Once its endpoints were warm they stay so."""

    def __init__(self, worker: Parts) -> None:
        self._worker = worker
        self._was_warm = False

    def reasons(self) -> list[str]:
        """Empty: an endpoint can take requests."""
        worker = self._worker
        if worker.rotation is not None and (reasons := worker.rotation.reasons()):
            return reasons
        is_ready, reasons = worker.readiness.state()
        if not is_ready:
            return reasons + [f"{url}: its name cannot be resolved" for url in self.unresolved()]
        if self._was_warm:
            return []
        cold = self._cold() + (worker.warmups.reasons() if worker.warmups is not None else [])
        self._was_warm = not cold
        return cold

    def unresolved(self) -> list[str]:
        """Endpoints that are nowhere: their names have no address."""
        endpoint_set, config = self._worker.endpoint_set, self._worker.config
        return endpoint_set.unresolved(config) if endpoint_set is not None else []

    def _cold(self) -> list[str]:
        """Endpoints whose first connections are still being opened."""
        assert self._worker.engine is not None
        return [
            f"{endpoint['url']}: its first connections are being opened"
            for upstream in self._worker.engine.snapshot()["upstreams"]
            for endpoint in upstream["endpoints"]
            if not endpoint["pool"]["is_warm"]
        ]
