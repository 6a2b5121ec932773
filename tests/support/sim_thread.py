"""The simulator on a loop of its own, in a thread: for tests whose clients are synchronous."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Any

from zeroproxy.sim import SimOptions, Simulator


class SimThread:
    def __init__(self, **options: Any) -> None:
        self._options = SimOptions(**{"tokens_per_second": 500.0, "ttft": 0.001, **options})
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.sim = Simulator(self._options)

    @property
    def url(self) -> str:
        return self.sim.url

    @property
    def stats(self) -> Any:
        return self.sim.stats

    def _do(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def __enter__(self) -> SimThread:
        self._thread.start()
        self._do(self.sim.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._do(self.sim.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
