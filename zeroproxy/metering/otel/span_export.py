"""The half of sink.py that needs the OpenTelemetry packages: spans made and batches sent.

Law. Ids and times are the record's own. A record without a trace begins one.
Tests: tests/unit/test_otel.py.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from zeroproxy._version import __version__
from zeroproxy.config.schema import Otel
from zeroproxy.errors import one_line
from zeroproxy.metering.otel.spans import describe

log = logging.getLogger(__name__)

SAMPLED = TraceFlags(TraceFlags.SAMPLED)
DROPPED = TraceFlags(TraceFlags.DEFAULT)
UNSET = Status(StatusCode.UNSET)
TRACE_DIGITS = 32
SPAN_DIGITS = 16
LINE_MAX = 240  # characters of one line of the library's log that are shown


class LastLines(logging.Handler):
    """The first and last line that the library logged in each thread: why it tried again, how it
    ended. In a program that never set up logging, this handler also keeps the library's lines off
    stderr; elsewhere they arrive as before."""

    def __init__(self) -> None:
        super().__init__()
        self._logged = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        self._logged.texts = [*getattr(self._logged, "texts", [])[:1], record.getMessage()]

    def take(self) -> str:
        texts: list[str] = getattr(self._logged, "texts", [])
        self._logged.texts = []
        return one_line(" ".join(text[:LINE_MAX] for text in texts))


LAST_LINES = LastLines()


def read_id(text: str, digits: int) -> int:
    """A hexadecimal id as a number; 0: there is none, or it is not one."""
    if len(text) != digits:
        return 0
    try:
        return int(text, 16)
    except ValueError:
        return 0


class SpanMaker:
    def __init__(self, service_name: str, sample: float) -> None:
        self._ids = RandomIdGenerator()
        # The SDK's rule, so that everybody with the same share keeps the same traces.
        self._bound = TraceIdRatioBased.get_bound_for_rate(sample)
        self._scope = InstrumentationScope("zeroproxy", __version__)
        # create() adds OTEL_RESOURCE_ATTRIBUTES, as operators of Kubernetes set them.
        self._resource = Resource.create(
            {
                "service.name": service_name,
                "service.version": __version__,
                "service.instance.id": str(uuid.uuid4()),
            }
        )

    def context(self, record: dict[str, Any]) -> SpanContext:
        """`trace_sampled` is the caller's flag, None or absent when no traceparent came."""
        trace_id = read_id(record.get("trace_id", ""), TRACE_DIGITS)
        trace_id = trace_id or self._ids.generate_trace_id()
        span_id = read_id(record.get("span_id", ""), SPAN_DIGITS) or self._ids.generate_span_id()
        sampled = record.get("trace_sampled")
        if sampled is None:
            sampled = trace_id & TraceIdRatioBased.TRACE_ID_LIMIT < self._bound
        return SpanContext(trace_id, span_id, False, SAMPLED if sampled else DROPPED)

    def span(self, record: dict[str, Any], context: SpanContext) -> ReadableSpan:
        name, attributes, failed = describe(record)
        return ReadableSpan(
            name,
            context=context,
            parent=parent_of(record, context),
            resource=self._resource,
            attributes=attributes,
            kind=SpanKind.SERVER,
            # A description is for facts that no attribute has; error.type has this one.
            status=Status(StatusCode.ERROR) if failed else UNSET,
            start_time=record["time_ns"],
            end_time=record["time_ns"] + record["total_ns"],
            instrumentation_scope=self._scope,
        )


def parent_of(record: dict[str, Any], context: SpanContext) -> SpanContext | None:
    """The caller's span. Without its trace a parent means nothing."""
    parent_id = read_id(record.get("parent_span_id", ""), SPAN_DIGITS)
    if not parent_id or not record.get("trace_id"):
        return None
    return SpanContext(context.trace_id, parent_id, True, context.trace_flags)


class Exporter(SpanExporter):
    """OTLP over HTTP, counted. `export` runs in the batch processor's thread alone."""

    def __init__(self, config: Otel) -> None:
        library = logging.getLogger(OTLPSpanExporter.__module__)
        library.addHandler(LAST_LINES)  # once: a logger ignores a handler it has
        self._endpoint = config.endpoint
        self._client = OTLPSpanExporter(
            endpoint=config.endpoint,
            headers=config.headers,
            timeout=config.timeout,
            compression=Compression.Gzip,
        )
        self._end = float("inf")
        self._lock = threading.Lock()
        self._is_shut = False
        self.taken = 0
        self.sent = 0
        self.undelivered = 0
        self.failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        LAST_LINES.take()
        if time.monotonic() < self._end and self._send(spans):
            self.sent += len(spans)
            self._report(failing=False)
            return SpanExportResult.SUCCESS
        self.undelivered += len(spans)
        self._report(failing=True)
        return SpanExportResult.FAILURE

    def _send(self, spans: Sequence[ReadableSpan]) -> bool:
        try:
            return self._client.export(spans) is SpanExportResult.SUCCESS
        except Exception as error:  # the library must not take the thread down
            LAST_LINES.handle(logging.makeLogRecord({"msg": repr(error)}))
            return False

    def _report(self, failing: bool) -> None:
        if failing == self.failing:
            return
        self.failing = failing
        if failing:
            why = LAST_LINES.take() or "no time left"
            log.warning(f"otel: {self._endpoint} takes no spans: {why}")
        else:
            log.info(f"otel: {self._endpoint} takes spans again")

    def end_within(self, seconds: float) -> None:
        """No new batch is begun after `seconds`."""
        self._end = time.monotonic() + seconds

    def shutdown(self) -> None:
        """From two threads, the closing one and the SDK's; the second call changes nothing."""
        with self._lock:
            if self._is_shut:
                return
            self._is_shut = True
        self._client.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True
