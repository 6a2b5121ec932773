"""The configuration: every key, its type, its range and its default, as frozen structs.

Law 1. The names are a contract (conf/reference.toml shows them all): keys are added, not renamed.
Law 2. A default is what an operator who never heard of the key would want; its precedent is named.
Law 3. A key whose feature this version does not have is refused, never silently accepted.
Times are seconds; 0 means no limit unless a key says otherwise. Reading: config_load.py.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Seconds = Annotated[float, Meta(ge=0, le=86400 * 365)]
Count = Annotated[int, Meta(ge=0, le=1 << 40)]
Weight = Annotated[int, Meta(ge=1, le=1000)]
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]


PresetName = Literal[
    "", "vllm", "tgi", "sglang", "llamacpp", "fastchat", "ollama", "ktransformers", "openai"
]  # fmt: skip


class Base(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Frozen, keyword-only, closed: an unknown key is an error that names it."""


class Server(Base, frozen=True):
    """The data listeners."""

    #: "HOST:PORT", "[v6]:PORT", "unix:/path" or "fd:N" (inherited); a string or a list.
    listen: str | tuple[str, ...] = ("127.0.0.1:8080",)
    #: Processes. Only 1 in this version.
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    #: How long SIGTERM waits for exchanges to finish before it cuts them (Kubernetes: 30).
    drain_timeout: Seconds = 30.0
    #: Add Via to forwarded requests: a MUST of RFC 9110 7.6.3 that nginx and HAProxy omit.
    via: bool = True
    #: Keep the caller's X-Forwarded-* and append to them. Only behind a proxy of your own.
    trust_forwarded: bool = False


class Admin(Base, frozen=True):
    """The admin listener, apart from the data port."""

    #: "HOST:PORT" or "unix:/path"; "" switches it off. Keep it on loopback.
    listen: str = "127.0.0.1:9090"


class Endpoint(Base, frozen=True):
    """One address of an upstream; in TOML a URL string or {url, weight}."""

    #: "http://HOST:PORT" or "unix:/path".
    url: str
    #: Share of traffic relative to the other endpoints.
    weight: Weight = 1
    #: A name with several addresses is several endpoints, shown as URL#ADDRESS, not the first.
    expand: bool = False


class Pool(Base, frozen=True):
    """Connections to each endpoint (docs/pools.md)."""

    #: Idle connections to have ready, opened before they are needed; 0: none.
    prewarm: Annotated[int, Meta(ge=0, le=4096)] = 0
    #: They are kept ready for so long after the last exchange; 0: always.
    prewarm_idle: Seconds = 60.0
    #: Idle connections kept at most; more are closed (nginx keepalive: per worker, no default).
    max_idle: Annotated[int, Meta(ge=0, le=65536)] = 256
    #: An idle connection is closed after this; must stay under the server's own limit (uvicorn,
    #: cpp-httplib: 5 s).
    idle_timeout: Seconds = 3.0
    #: learn: shorter where the server says so (Keep-Alive: timeout=, max=) or closes earlier.
    keep_alive: Literal["learn", "fixed"] = "learn"
    #: A connection older than this is not used again; 0: no limit.
    max_age: Seconds = 0.0
    #: Nor is one that has served so many requests; 0: no limit (nginx keepalive_requests: 1000).
    max_requests: Annotated[int, Meta(ge=0, le=1 << 30)] = 0
    #: Connections at once, idle and busy; above it exchanges wait, up to admission.queue_timeout.
    #: 0: no limit.
    max_connections: Annotated[int, Meta(ge=0, le=1 << 20)] = 0


class Admission(Base, frozen=True):
    """How many exchanges run at once, and how many may wait."""

    #: Exchanges in flight per upstream; 0: no limit. vLLM queues well by itself.
    max_inflight: Annotated[int, Meta(ge=0, le=1 << 20)] = 0
    #: Exchanges that may wait for a permit; above it: 503 at once.
    queue: Annotated[int, Meta(ge=0, le=1 << 20)] = 1024
    #: How long one may wait; then 503.
    queue_timeout: Seconds = 30.0


class Timeouts(Base, frozen=True):
    """Patience with an endpoint, phase by phase."""

    #: Until the TCP connection stands. Loopback or LAN: 2 s is generous.
    connect: Seconds = 2.0
    #: From the last request byte to the first response byte: queueing and prefill are not a hang.
    first_byte: Seconds = 600.0
    #: Between two reads of a response that has begun.
    stream_idle: Seconds = 120.0
    #: The whole exchange.
    total: Seconds = 0.0


class Retry(Base, frozen=True):
    """Only before the first response byte, only where nothing can have been generated."""

    #: Attempts in all; 1: none again (a stale pooled connection is replaced all the same).
    attempts: Annotated[int, Meta(ge=1, le=10)] = 2
    #: Treat 503 and 429 as "not begun" and try another endpoint.
    on_busy: bool = False


class Health(Base, frozen=True):
    """Asking each endpoint whether it is well (docs/health.md)."""

    #: What is asked for; "" switches it off. A preset knows its server's.
    path: Annotated[str, Meta(max_length=1024)] = "/health"
    #: Between two questions; half of it while an answer is in doubt.
    interval: Annotated[float, Meta(ge=0.05, le=3600)] = 2.0
    #: How long an answer may take.
    timeout: Annotated[float, Meta(gt=0, le=3600)] = 1.0
    #: So many bad answers in a row take an endpoint out of rotation (vllm-router: 3).
    unhealthy_after: Annotated[int, Meta(ge=1, le=1000)] = 3
    #: So many good ones in a row bring it back (vllm-router: 2).
    healthy_after: Annotated[int, Meta(ge=1, le=1000)] = 2
    #: Every pause is longer or shorter by up to this share, so that probes do not march in step.
    jitter: Annotated[float, Meta(ge=0, le=0.5)] = 0.1
    #: The status of a good answer.
    expect: Annotated[int, Meta(ge=200, le=599)] = 200
    #: An endpoint that answers but has sent no byte of any running exchange for so long, and whose
    #: own counters stand still, is wedged and taken out; 0: never, else at least 1. Longer than
    #: your longest prefill where the server has no page of counters.
    wedge_after: Seconds = 30.0


class Breaker(Base, frozen=True):
    """A circuit breaker per endpoint. Connect failures, resets, cuts, timeouts and 5xx count; 4xx
    never does. failures = 0 and error_rate = 0 switch it off."""

    #: Failures in a row that open it; 0: not counted (Envoy consecutive_5xx 5).
    failures: Annotated[int, Meta(ge=0, le=100000)] = 5
    #: Both kinds of counting look back so far; 0: in a row, however far apart.
    window: Seconds = 10.0
    #: How long it is open first; doubled while probes fail, up to 60.
    open_for: Annotated[float, Meta(gt=0, le=3600)] = 5.0
    #: Requests let through at a time to find out; as many have to be answered to close it.
    half_open_probes: Annotated[int, Meta(ge=1, le=1000)] = 1
    #: This share of failures in the window opens it too; 0: not looked at.
    error_rate: Annotated[float, Meta(ge=0, le=1)] = 0.0
    #: Fewer requests than that in the window have no rate.
    min_requests: Annotated[int, Meta(ge=1, le=100000)] = 20
    #: Let 429 and 503 count as failures. Otherwise others only go first for a second.
    count_busy: bool = False
    #: An endpoint that comes back gets its share of traffic over so many seconds; 0: at once.
    slow_start: Seconds = 10.0


#: As requests spell it; the data plane compares 64 bytes.
ModelName = Annotated[str, Meta(min_length=1, max_length=64)]


class Alias(Base, frozen=True):
    """A model under another name."""

    #: What callers ask for.
    name: ModelName
    #: What the server calls it.
    serves: Annotated[str, Meta(min_length=1, max_length=150)]


class Upstream(Base, frozen=True):
    """A named group of endpoints that serve the same models."""

    name: Name
    endpoints: tuple[str | Endpoint, ...]
    #: Requests for these models come here; empty: for all that no other upstream lists. A name, or
    #: { name = "gpt-4o", serves = "Qwen/Qwen3-8B" }: what callers say, and what the server says.
    models: tuple[ModelName | Alias, ...] = ()
    #: least_inflight: fewest exchanges per weight. round_robin: turns by weight.
    balance: Literal["least_inflight", "round_robin"] = "least_inflight"
    #: Names of endpoints are looked up again after this; 0: never.
    dns_ttl: Seconds = 30.0
    #: What the endpoints run, so that keys left out fit it; "": nothing is assumed.
    preset: PresetName = ""
    health: Health = field(default_factory=Health)
    breaker: Breaker = field(default_factory=Breaker)
    pool: Pool = field(default_factory=Pool)
    admission: Admission = field(default_factory=Admission)
    timeouts: Timeouts = field(default_factory=Timeouts)
    retry: Retry = field(default_factory=Retry)

    def all_models(self) -> tuple[Alias, ...]:
        """The models as structs; a plain name serves itself."""
        return tuple(Alias(name=m, serves=m) if isinstance(m, str) else m for m in self.models)

    def all_endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints as structs, strings given a weight of 1."""
        return tuple(Endpoint(url=e) if isinstance(e, str) else e for e in self.endpoints)


class Limits(Base, frozen=True):
    """What a caller may send, and how slowly. Everything is bounded."""

    #: Request line, bytes (RFC 9112: at least 8,000 must work); above it: 414.
    header_line_bytes: Annotated[int, Meta(ge=512, le=32768)] = 8192
    #: A whole head, bytes; above it: 431. Half a block at most.
    header_bytes: Annotated[int, Meta(ge=1024, le=49152)] = 32768
    #: Fields of a head (Envoy 100, HAProxy 101); above it: 431.
    header_count: Annotated[int, Meta(ge=8, le=256)] = 100
    #: Request body, bytes; 0: no limit. Images and audio come as base64. Above it: 413.
    body_bytes: Count = 1 << 30
    #: Downstream connections; 0: as many as the descriptors allow. Above it: 503.
    connections: Annotated[int, Meta(ge=0, le=1 << 20)] = 0
    #: First to last byte of a head (nginx 60, here the strict figure of the slowloris literature).
    header_timeout: Seconds = 10.0
    #: Between two reads of a request body (nginx 60).
    body_timeout: Seconds = 30.0
    #: A kept-alive connection without a request (nginx 75).
    idle_timeout: Seconds = 75.0
    #: A write that makes no progress because the peer does not read (nginx 60).
    write_stall_timeout: Seconds = 60.0
    #: An upgraded connection silent in both directions (Envoy 1 h).
    tunnel_idle_timeout: Seconds = 3600.0
    #: Reading on after an error answer so that it is not lost to a RST (nginx lingering_timeout 5).
    linger_timeout: Seconds = 2.0
    #: 1xx answers forwarded per request.
    interim_responses: Annotated[int, Meta(ge=1, le=1000)] = 64
    #: Chunk extensions and trailers per message, bytes; read and dropped.
    chunk_extra_bytes: Annotated[int, Meta(ge=256, le=65536)] = 16384


class Log(Base, frozen=True):
    """What is written down."""

    #: "jsonl:stdout" or "jsonl:/path": one line per exchange; "" switches it off.
    access: Annotated[str, Meta(pattern=r"^(|jsonl:.+)$")] = ""


#: How a sink is called in logs, metrics and the ledger; "": its kind.
SinkName = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9._-]*$")]
Days = Annotated[int, Meta(ge=0, le=36500)]


class ToRedis(Base, frozen=True, tag_field="kind", tag="redis"):
    """A Redis stream (extra: zeroproxy[redis])."""

    name: SinkName = ""
    #: redis://, rediss:// or unix://; or the file that holds it. Exactly one of the two.
    url: str = ""
    url_file: str = ""
    #: The stream's key.
    stream: Annotated[str, Meta(min_length=1)] = "zeroproxy:usage"
    #: Entries kept, about; 0: all.
    maxlen: Count = 1_000_000


class ToPostgres(Base, frozen=True, tag_field="kind", tag="postgres"):
    """A PostgreSQL table, made if it is not there (extra: zeroproxy[postgres])."""

    name: SinkName = ""
    #: A libpq connection string or URL; or the file that holds it. Exactly one of the two.
    dsn: str = ""
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
    """What is counted, the usage ledger, and where it is sent on (docs/metering.md)."""

    #: Ask for usage on the caller's behalf, and take out of the answer what he did not ask for.
    inject_usage: bool = True
    #: Ask for it with every event, so that a stream that is cut is counted exactly too. auto: where
    #: the server is known to understand it (vLLM, SGLang).
    continuous_usage: Literal["auto", "always", "never"] = "auto"
    #: Records that may wait for the ledger, 0.4 KiB each, a power of two. What does not fit is kept
    #: as totals by endpoint, model and tenant.
    ring: Annotated[int, Meta(ge=2, le=1 << 20)] = 4096
    #: SQLite file, relative to the working directory; "" switches it off.
    ledger: str = "usage.sqlite"
    #: How long single exchanges are kept; 0: for ever. What a sink still lacks stays.
    retention_days: Days = 7
    #: How long the hourly sums are kept, from which bills are made; 0: for ever.
    hourly_retention_days: Days = 400
    #: Servers fed from the ledger: tables with a kind.
    sinks: tuple[AnySink, ...] = ()


class Otel(Base, frozen=True):
    """Spans for an OpenTelemetry collector (OTLP over HTTP); needs the extra zeroproxy[otel]."""

    #: The whole URL, "http://HOST:4318/v1/traces"; "" switches it off.
    endpoint: str = ""
    #: Sent with every batch, for a collector that asks for a key: { authorization = "${NAME}" }.
    headers: dict[str, Annotated[str, Meta(max_length=8192)]] = {}
    #: The service.name of every span.
    service_name: Annotated[str, Meta(min_length=1, max_length=255)] = "zeroproxy"
    #: How long a batch may take, its retries included, and the flush at exit (OTLP's own: 10).
    timeout: Annotated[float, Meta(gt=0, le=60)] = 2.0
    #: The share of traces that is sent; a caller's own decision in traceparent goes first.
    sample: Annotated[float, Meta(ge=0, le=1)] = 1.0

    def __repr__(self) -> str:
        """Without the values of `headers`: they are secrets."""
        shown = ", ".join(
            f"{name}={list(self.headers) if name == 'headers' else getattr(self, name)!r}"
            for name in self.__struct_fields__
        )
        return f"Otel({shown})"


class Config(Base, frozen=True):
    """Everything. At least one upstream is needed."""

    upstream: tuple[Upstream, ...]
    server: Server = field(default_factory=Server)
    admin: Admin = field(default_factory=Admin)
    limits: Limits = field(default_factory=Limits)
    log: Log = field(default_factory=Log)
    metering: Metering = field(default_factory=Metering)
    otel: Otel = field(default_factory=Otel)

    def listens(self) -> tuple[str, ...]:
        """server.listen as a tuple."""
        one = self.server.listen
        return (one,) if isinstance(one, str) else one
