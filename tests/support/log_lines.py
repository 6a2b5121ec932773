"""The lines that the proxy logs, as a program that embeds it could take them."""

from __future__ import annotations

import logging
from types import TracebackType


class LogLines(logging.Handler):
    """Messages below "zeroproxy" while it lasts, oldest first; `levels` are theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []
        self.levels: list[str] = []
        self._logger = logging.getLogger("zeroproxy")
        self._level = self._logger.level

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        self.levels.append(record.levelname)

    def __enter__(self) -> LogLines:
        self._logger.addHandler(self)
        self._logger.setLevel(logging.INFO)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self._logger.setLevel(self._level)
        self._logger.removeHandler(self)
