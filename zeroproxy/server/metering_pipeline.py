"""Everything behind the ring, put together: ledger, flusher, direct sinks, feeders.

`start` opens the ledger and imports the packages of the sinks; it raises if one is missing. It
starts without a server that does not answer: the rows for it wait in the ledger.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Any

from zeroproxy.config.schema import AnySink, Config, ToPostgres, ToRedis, kind_of
from zeroproxy.config.secret_files import name_of, resolve_sink
from zeroproxy.errors import ZeroproxyError
from zeroproxy.metering.access_log_file import LogFile, open_sink
from zeroproxy.metering.access_log_queue import AccessLog
from zeroproxy.metering.flusher import Flusher, Sink
from zeroproxy.metering.ledger import Ledger
from zeroproxy.metering.ledger_errors import LedgerDamaged, LedgerUnavailable
from zeroproxy.metering.otel.sink import OtelSink, open_otel
from zeroproxy.metering.outbox import Feeder, OutboxSink, stop_all
from zeroproxy.metering.rescue_file import refused_path, take_in
from zeroproxy.metering.sinks.jsonl import JsonlOutbox
from zeroproxy.metering.sinks.postgres import PostgresSink
from zeroproxy.metering.sinks.redis import RedisSink

log = logging.getLogger(__name__)


def make_sink(sink: AnySink) -> OutboxSink:
    """The client of one sink, not yet connected. Raises ZeroproxyError."""
    sink = resolve_sink(sink)
    if isinstance(sink, ToRedis):
        return RedisSink(sink.url, sink.stream, sink.maxlen)
    if isinstance(sink, ToPostgres):
        return PostgresSink(sink.dsn, sink.table)
    return JsonlOutbox(sink.path)


def open_anyhow(ledger: Ledger) -> int:
    """Open it, with a new one in place of one that is damaged (how many were). One that cannot be
    used now is left to the flusher, which tries again. Raises ZeroproxyError: it is no ledger, or
    nobody may write it."""
    damaged = 0
    while True:
        try:
            ledger.follow()
        except LedgerUnavailable as error:
            log.error(f"{error}; requests are served, counts are kept in memory, and it is tried "
                      f"again")  # fmt: skip
        except LedgerDamaged as error:
            try:
                aside = ledger.put_aside()
            except OSError as why:
                raise ZeroproxyError(f"{error}; it cannot be put aside: {why.strerror}") from None
            log.error(f"{error}. The damaged ledger is kept as {aside}; a new one is begun")
            damaged += 1
            continue
        return damaged


class Metering:
    """The way of the records of one engine. `stop` is safe at any time, also after a `start`
    that raised; it blocks."""

    def __init__(self, config: Config, engine: Any) -> None:
        self._config, self._engine = config, engine
        self._ledger: Ledger | None = None
        self._flusher: Flusher | None = None
        self._feeders: list[Feeder] = []
        self._access = AccessLog(None)
        self._otel: OtelSink | None = None
        self._has_fed = False
        self._damaged = 0  # ledgers that were put aside
        self._refused = 0  # records that the ledger refused before and at this start

    def start(self) -> None:
        direct = self._open_direct()
        try:
            self._open_ledger()
        except BaseException:
            for _, sink in direct:
                sink.close()
            raise
        if self._ledger is None and not direct:
            return  # nobody wants records: the ring may fill, the totals are kept in C
        self._flusher = Flusher(self._engine, self._ledger, direct, self._wake)
        self._flusher.start()

    def feed(self) -> None:
        """Begin, or go on, to bring rows to the sinks."""
        if self._ledger is not None and self._has_fed:
            self._feeders = self._make_feeders(self._ledger)
        self._has_fed = True
        for feeder in self._feeders:
            feeder.start()

    def stop_feeding(self) -> None:
        """Leave the rest of the rows to another process, or to the next `feed`. Blocks."""
        stop_all(self._feeders)

    def _open_direct(self) -> list[tuple[str, Sink]]:
        """Sinks that get each record once, straight from the flusher. The access log is among them
        even while it goes nowhere, if there is a flusher at all: a reload may switch it on."""
        access = self._config.log.access
        self._otel = open_otel(self._config.otel)
        spans: list[tuple[str, Sink]] = [("otel", self._otel)] if self._otel is not None else []
        if access:
            self._access = AccessLog(open_sink(access))
        if access or spans or self._config.metering.ledger:
            return [("access_log", self._access), *spans]
        return []

    def log_to(self, sink: LogFile | None) -> None:
        """The access log goes to `sink` from now on; None: nowhere. Blocks."""
        if self._flusher is None and sink is not None:
            self._flusher = Flusher(self._engine, None, [("access_log", self._access)], self._wake)
            self._flusher.start()
        self._access.switch(sink)

    def _open_ledger(self) -> None:
        metering = self._config.metering
        if not metering.ledger:
            return
        ledger = Ledger(
            metering.ledger,
            sinks=[name_of(sink) for sink in metering.sinks],
            retention_days=metering.retention_days,
            hourly_retention_days=metering.hourly_retention_days,
            is_open=metering.required,
        )
        try:
            self._damaged = open_anyhow(ledger)
            if ledger.is_in_place():
                self._take_in(ledger)
            self._feeders = self._make_feeders(ledger)
        except BaseException:
            ledger.close()
            raise
        self._ledger = ledger

    def _make_feeders(self, ledger: Ledger) -> list[Feeder]:
        return [
            Feeder(name_of(sink), kind_of(sink), make_sink(sink), ledger)
            for sink in self._config.metering.sinks
        ]

    def _take_in(self, ledger: Ledger) -> None:
        """Take in the records that earlier processes left aside. A ledger that is locked now keeps
        no proxy from starting: the flusher tries again."""
        try:
            taken, self._refused = take_in(ledger, refused_too=True)
        except ZeroproxyError as error:
            log.warning(f"{error}; it is tried again later")
            return
        if taken:
            log.info(f"the ledger took in {taken} rescued records")
        if self._refused:
            log.error(f"{self._refused} records that the ledger refuses, or that cannot be read, "
                      f"wait in {refused_path(ledger.path)}")  # fmt: skip

    def _wake(self) -> None:
        for feeder in self._feeders:
            feeder.wake()

    def state(self) -> dict[str, Any]:
        """For /status and /metrics. From memory: no lock and no server is waited for."""
        ledger = None if self._ledger is None else self._ledger.state()
        flusher = None if self._flusher is None else self._flusher.state()
        access = self._access.state()
        if flusher is not None and "access_log" in flusher["failures"]:
            # The flusher only queues its lines: whether they are written the log itself knows.
            flusher["failures"]["access_log"] += access["failures"]
            if access["last_error"]:
                flusher["failing"] = sorted({*flusher["failing"], "access_log"})
        if ledger is not None and flusher is not None:
            ledger["refused"] = self._refused + flusher.pop("refused")
            ledger["damaged"] = self._damaged + flusher.pop("damaged")
            ledger["ok"] = ledger.pop("is_open") and "ledger" not in flusher["failing"]
        return {
            "ledger": ledger,
            "flusher": flusher,
            "access_log": access,
            "otel": None if self._otel is None else self._otel.state(),
            "sinks": [feeder.state() for feeder in self._feeders],
        }

    def stop(self) -> None:
        """The last records into the ledger, then on to the sinks as far as they answer."""
        flusher, self._flusher = self._flusher, None
        if flusher is not None:
            flusher.stop()
            with contextlib.suppress(Exception):
                stop_all(self._feeders)
