"""Records as OpenTelemetry spans, sent as OTLP over HTTP. Needs the packages
of the extra otel.

Law 1. `write` never waits for the collector. A bounded queue and a thread of its own stand between;
       what does not fit is dropped and counted, the newest first.
Law 2. accepted = sent + undelivered + queued (the batch under way included), at every moment;
       `state()` shows them all.
Law 3. A collector that fails is reported once, and once more when it is back; never with a header.
Law 4. Nothing of OpenTelemetry is imported unless otel.endpoint is set.
Tests: tests/unit/test_otel.py.
"""

from __future__ import annotations

import importlib
import logging
import threading
from typing import TYPE_CHECKING, Any

from zeroproxy.config.schema import Otel
from zeroproxy.errors import ConfigError, how_to_install

if TYPE_CHECKING:
    from zeroproxy.metering.otel.span_export import Exporter, SpanMaker

log = logging.getLogger(__name__)

QUEUE_MAX = 8192  # spans
BATCH_MAX = 512  # spans in one request
DELAY = 1.0  # seconds a span waits at most for company
#: The outcome of a record that stands for many (metering/flusher.py): no single exchange, no span.
SUMMED = "overflow"


class OtelSink:
    """`write` is for one thread, the flusher's; `state` for any."""

    def __init__(self, config: Otel, queue_max: int = QUEUE_MAX) -> None:
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        from zeroproxy.metering.otel.span_export import Exporter, SpanMaker

        self._timeout = config.timeout
        self._queue_max = queue_max
        self._maker: SpanMaker = SpanMaker(config.service_name, config.sample)
        self._exporter: Exporter = Exporter(config)
        self._processor = BatchSpanProcessor(
            self._exporter,
            max_queue_size=queue_max,
            schedule_delay_millis=DELAY * 1000,
            max_export_batch_size=min(BATCH_MAX, queue_max),
            export_timeout_millis=config.timeout * 1000,
        )
        self._accepted = 0
        self._full = 0
        self._unsampled = 0
        self._summed = 0
        self._closed = False

    def write(self, batch: list[dict[str, Any]]) -> None:
        for record in batch:
            if record["outcome"] == SUMMED:
                self._summed += record.get("count", 1)
                continue
            context = self._maker.context(record)
            if not context.trace_flags.sampled:
                self._unsampled += 1
            # The exporter counts a span when it leaves the queue: never more waiting than this.
            elif self._closed or self._accepted - self._exporter.taken >= self._queue_max:
                self._full += 1
            else:
                self._accepted += 1
                self._processor.on_end(self._maker.span(record, context))

    def state(self) -> dict[str, int | bool]:
        """Counts since start; `dropped`: queue full, or undelivered."""
        sent, undelivered = self._exporter.sent, self._exporter.undelivered
        queued = self._accepted - sent - undelivered
        if self._closed:
            undelivered, queued = undelivered + queued, 0
        return {
            "queued": queued,
            "sent": sent,
            "undelivered": undelivered,
            "no_room": self._full,
            "dropped": undelivered + self._full,
            "unsampled": self._unsampled,
            "summed": self._summed,
            "failing": self._exporter.failing,
        }

    def close(self) -> None:
        """Send what is left, for otel.timeout at most; then give it up."""
        if self._closed:
            return
        self._exporter.end_within(self._timeout)
        # The SDK waits half a minute; this thread is left behind if the collector never answers.
        last = threading.Thread(
            target=self._processor.shutdown, name="zeroproxy-otel-close", daemon=True
        )
        last.start()
        last.join(self._timeout)
        self._exporter.shutdown()
        self._closed = True
        if lost := self.state()["dropped"]:
            log.warning(f"otel: {lost} spans were dropped since start")


def missing(error: ModuleNotFoundError) -> ConfigError:
    return ConfigError(
        f"{error.name} is not installed: {how_to_install('otel')}", key="otel.endpoint"
    )


def need_otel() -> None:
    """Raises ConfigError: packages that [otel] needs are not installed."""
    try:
        importlib.import_module("zeroproxy.metering.otel.span_export")
    except ModuleNotFoundError as error:
        raise missing(error) from None


def open_otel(config: Otel) -> OtelSink | None:
    """The sink of [otel]; None: it is switched off. Raises ConfigError, as need_otel."""
    if not config.endpoint:
        return None
    try:
        return OtelSink(config)
    except ModuleNotFoundError as error:
        raise missing(error) from None
