"""The configuration of counting and of its outputs: ledger, sinks, spans."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from zeroproxy.config.base import DAYS, SECONDS, SECRET, Base, Count, Secret

#: The name of a sink in logs, metrics and the ledger; "": its kind.
SinkName = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9._-]*$")]
Headers = Annotated[dict[str, Annotated[str, Meta(max_length=8192)]], Meta(extra=SECRET)]
Days = Annotated[int, Meta(ge=0, le=36500, extra=DAYS)]


class ToRedis(Base, frozen=True, tag_field="kind", tag="redis"):
    """A Redis stream (package redis)."""

    name: SinkName = ""
    #: redis://, rediss:// or unix://; or the file that holds it. Exactly one of the two.
    url: Secret = ""
    url_file: str = ""
    #: The stream's key.
    stream: Annotated[str, Meta(min_length=1)] = "zeroproxy:usage"
    #: Entries kept, about; 0: all.
    maxlen: Count = 1_000_000


class ToPostgres(Base, frozen=True, tag_field="kind", tag="postgres"):
    """A PostgreSQL table, made if it is not there (package psycopg)."""

    name: SinkName = ""
    #: A libpq connection string or URL; or the file that holds it. Exactly one of the two.
    dsn: Secret = ""
    dsn_file: str = ""
    #: NAME or SCHEMA.NAME.
    table: Annotated[
        str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?$")
    ] = "zeroproxy_usage"


class ToJsonl(Base, frozen=True, tag_field="kind", tag="jsonl"):
    """A file of JSON lines, appended."""

    path: Annotated[str, Meta(min_length=1)]
    name: SinkName = ""


AnySink = ToRedis | ToPostgres | ToJsonl


def kind_of(sink: AnySink) -> str:
    return str(sink.__struct_config__.tag)


class Metering(Base, frozen=True):
    """Counting, the usage ledger and its sinks (docs/metering.md)."""

    #: Ask for usage on the caller's behalf, and take it out of the answer again.
    inject_usage: bool = True
    #: Ask for it with every event, so that a stream that is cut is counted exactly too. auto: where
    #: the server is known to understand it (vLLM, SGLang).
    continuous_usage: Literal["auto", "always", "never"] = "auto"
    #: Records that may wait for the ledger, 0.6 KiB each, a power of two. Those that do not fit are
    #: kept as totals by endpoint, model and tenant.
    ring: Annotated[int, Meta(ge=2, le=1 << 20)] = 4096
    #: SQLite file, relative to the working directory; "" switches it off.
    ledger: str = "usage.sqlite"
    #: Do not start without the ledger: one that is damaged or cannot be used now ends the start.
    #: Otherwise a damaged one is put aside and a new one begun, and callers are served.
    required: bool = False
    #: How long single exchanges are kept; 0: for ever. Rows that a sink still lacks stay.
    retention_days: Days = 7
    #: How long the hourly sums are kept, from which bills are made; 0: for ever.
    hourly_retention_days: Days = 400
    #: Servers fed from the ledger: tables with a kind.
    sinks: tuple[AnySink, ...] = ()


class Otel(Base, frozen=True):
    """Spans for an OpenTelemetry collector (OTLP over HTTP); docs/tracing.md
    names the packages."""

    #: The whole URL, "http://HOST:4318/v1/traces"; "" switches it off.
    endpoint: str = ""
    #: Sent with every batch, for a collector that needs a key: { authorization = "${NAME}" }.
    headers: Headers = field(default_factory=dict)
    #: The service.name of every span.
    service_name: Annotated[str, Meta(min_length=1, max_length=255)] = "zeroproxy"
    #: How long a batch may take, its retries included, and the flush at exit (OTLP's own: 10).
    timeout: Annotated[float, Meta(gt=0, le=60, extra=SECONDS)] = 2.0
    #: The share of traces that is sent; a caller's own decision in traceparent goes first.
    sample: Annotated[float, Meta(ge=0, le=1)] = 1.0
