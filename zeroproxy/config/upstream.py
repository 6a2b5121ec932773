"""The configuration of one upstream: its endpoints, pools, patience, health and breakers."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from zeroproxy.config.base import BYTES, SECONDS, SECRET, Base, Name, Seconds, Weight
from zeroproxy.config.surface import Surface
from zeroproxy.config.tls import UpstreamTls

PresetName = Literal[
    "", "vllm", "tgi", "sglang", "llamacpp", "fastchat", "ollama", "ktransformers", "openai"
]  # fmt: skip


class Endpoint(Base, frozen=True):
    """One address of an upstream; in TOML a URL string or {url, weight}."""

    #: "http://HOST:PORT", "https://HOST:PORT" or "unix:/path".
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
    #: learn: shorter where the server announces it (Keep-Alive: timeout=, max=) or closes earlier.
    keep_alive: Literal["learn", "fixed"] = "learn"
    #: A connection older than this is not used again; 0: no limit.
    max_age: Seconds = 0.0
    #: Nor is one that has served so many requests; 0: no limit (nginx keepalive_requests: 1000).
    max_requests: Annotated[int, Meta(ge=0, le=1 << 30)] = 0
    #: Silence on one after which TCP probes the other side; 0: never. Some networks forget a
    #: connection after 240 s (Azure) or 350 s (AWS).
    tcp_keepalive: Annotated[int, Meta(ge=0, le=7200)] = 60
    #: Connections at once, idle and busy; above it exchanges wait, up to admission.queue_timeout.
    #: 0: no limit.
    max_connections: Annotated[int, Meta(ge=0, le=1 << 20)] = 0


class Hash(Base, frozen=True):
    """The value by which consistent_hash chooses (docs/balance.md); no other policy reads it."""

    #: The first of these that a request has. "header:NAME"; "user": the first of the body's user,
    #: prompt_cache_key, safety_identifier and metadata.user_id; "prompt": the first bytes of its
    #: messages, prompt or input. A request with none of them goes by least_inflight.
    on: Annotated[tuple[str, ...], Meta(min_length=1, max_length=4)] = (
        "header:x-session-id",
        "user",
        "prompt",
    )
    #: Bytes of a prompt that count, as JSON.
    prefix_bytes: Annotated[int, Meta(ge=1, le=16384, extra=BYTES)] = 1024
    #: No endpoint has more than so many times its fair share in flight; further requests go to the
    #: next endpoint (HAProxy hash-balance-factor 125, Envoy hash_balance_factor).
    load_bound: Annotated[float, Meta(ge=1, le=1000)] = 1.25


class Admission(Base, frozen=True):
    """How many exchanges run at once, and how many may wait."""

    #: Exchanges in flight per endpoint; 0: no limit. vLLM queues well by itself.
    max_inflight: Annotated[int, Meta(ge=0, le=65536)] = 0
    #: Find the limit of each endpoint, up to max_inflight (Envoy adaptive_concurrency). It rises by
    #: one while first tokens come within so many seconds, and falls by a tenth when one is later.
    #: 0: the limit is fixed. Only answers that come event by event count.
    ttft_target: Seconds = 0.0
    #: A limit that is found goes no lower.
    min_inflight: Annotated[int, Meta(ge=1, le=65536)] = 1
    #: The share of the permits that one tenant may hold; 1: all of them.
    tenant_share: Annotated[float, Meta(gt=0, le=1)] = 1.0
    #: Exchanges that may wait for a permit, of all tenants; above it: 503 at once, to the tenant
    #: that has most of them waiting.
    queue: Annotated[int, Meta(ge=0, le=1 << 20)] = 1024
    #: How long one may wait; then 503.
    queue_timeout: Seconds = 30.0
    #: Where no endpoint is in rotation, or none accepts a connection, requests wait in the queue
    #: for so long. They go to the first that is back. 0: they are refused at once.
    hold_when_down: Seconds = 0.0
    #: Refuse a request at once if its caller would leave before its turn: the official SDKs send
    #: their read timeout (X-Stainless-Read-Timeout, X-Stainless-Timeout). Nothing is sent again, or
    #: hedged, after it.
    caller_deadline: bool = True
    #: Refused callers are given times to come again at, one behind the other (retry-after-ms beside
    #: Retry-After). Requests that an SDK sends again wait behind first attempts.
    steer_retries: bool = True


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


class Hedge(Base, frozen=True):
    """Ask a second endpoint too where the first does not answer (docs/admission.md). A generation
    may then be begun twice; the loser's connection is closed as soon as one has answered."""

    #: So long without a byte of an answer, after the whole request was sent; 0: never. Your p95 of
    #: zeroproxy_ttft_seconds is a good start (Dean, Barroso: The Tail at Scale).
    after: Seconds = 0.0
    #: So many of all requests at most (gRPC retryThrottling; Envoy retry_budget: 0.2).
    budget: Annotated[float, Meta(ge=0, le=1)] = 0.05


class Health(Base, frozen=True):
    """Health probes of each endpoint (docs/health.md)."""

    #: The path of a probe; "" switches it off. A preset knows its server's.
    path: Annotated[str, Meta(max_length=1024)] = "/health"
    #: Seconds between two probes; half of it while an answer is in doubt.
    interval: Annotated[float, Meta(ge=0.05, le=3600, extra=SECONDS)] = 2.0
    #: How long an answer may take.
    timeout: Annotated[float, Meta(gt=0, le=3600, extra=SECONDS)] = 1.0
    #: So many bad answers in a row take an endpoint out of rotation (vllm-router: 3).
    unhealthy_after: Annotated[int, Meta(ge=1, le=1000)] = 3
    #: So many good ones in a row bring it back (vllm-router: 2).
    healthy_after: Annotated[int, Meta(ge=1, le=1000)] = 2
    #: Every pause is longer or shorter by up to this share, so that probes do not march in step.
    jitter: Annotated[float, Meta(ge=0, le=0.5)] = 0.1
    #: The status of a good answer.
    expect: Annotated[int, Meta(ge=200, le=599)] = 200
    #: An endpoint is wedged, and taken out, if it answers probes but does no work. That is: for so
    #: many seconds no byte of any running exchange has come, and its own counters stand still. 0:
    #: never, else at least 1. Longer than your longest prefill where the server has no page of
    #: counters. One that answers no probe either is gone: exchanges it has owed a byte for so long
    #: are ended.
    wedge_after: Seconds = 30.0


class Warmup(Base, frozen=True):
    """A small request to each endpoint for each model, before callers ask (docs/health.md)."""

    #: Where it is posted; "" switches it off. Chat and /v1/messages get messages, others a prompt.
    path: Annotated[str, Meta(max_length=1024)] = ""
    #: The prompt. Short: the first step warms the engine, not its length.
    prompt: Annotated[str, Meta(max_length=65536)] = "Hi"
    #: As many tokens at most (Triton model_warmup, vLLM's own dummy run: one step).
    max_tokens: Annotated[int, Meta(ge=1, le=4096)] = 1
    #: For so long an endpoint is tried and waited for; then it is used as it is. A large model's
    #: first request may compile kernels or load weights for a minute.
    timeout: Annotated[float, Meta(gt=0, le=86400, extra=SECONDS)] = 120.0


class Breaker(Base, frozen=True):
    """A circuit breaker per endpoint. Connect failures, resets, cuts and timeouts count, a whole
    5xx only without a good health probe; 4xx and 501 never do. It never shuts the last endpoint of
    an upstream. failures = 0 and error_rate = 0 switch it off."""

    #: Failures in a row that open it; 0: not counted (Envoy consecutive_5xx 5).
    failures: Annotated[int, Meta(ge=0, le=100000)] = 5
    #: Both kinds of counting look back so far; 0: in a row, however far apart.
    window: Seconds = 10.0
    #: How long it is open first; doubled while probes fail, up to 60.
    open_for: Annotated[float, Meta(gt=0, le=3600, extra=SECONDS)] = 5.0
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


#: As requests name it; the data plane keeps 256 bytes.
ModelName = Annotated[str, Meta(min_length=1, max_length=256)]


class Alias(Base, frozen=True):
    """A model under another name."""

    #: The model's name in requests.
    name: ModelName
    #: The server's name for it.
    serves: ModelName


#: With "Bearer " in front of it in a header field; servers refuse heads of more than 8 to 64 KiB.
API_KEY_MAX = 4096
ApiKey = Annotated[str, Meta(max_length=API_KEY_MAX, extra=SECRET)]


class Upstream(Base, frozen=True, dict=True):
    """A named group of endpoints that serve the same models."""

    name: Name
    endpoints: tuple[str | Endpoint, ...]
    #: Requests for these models come here; empty: for all that no other upstream lists. A name, or
    #: { name = "gpt-4o", serves = "Qwen/Qwen3-8B" }: the name in requests, and the server's.
    models: tuple[ModelName | Alias, ...] = ()
    #: least_inflight: fewest exchanges per weight. round_robin: one after another, by weight.
    #: power_of_two: the better of two at random. consistent_hash: requests that belong together to
    #: one endpoint. fastest: by the times each endpoint has shown (docs/balance.md).
    balance: Literal[
        "least_inflight", "round_robin", "power_of_two", "consistent_hash", "fastest"
    ] = "least_inflight"
    hash: Hash = field(default_factory=Hash)
    #: Names of endpoints are looked up again after this; 0: never.
    dns_ttl: Seconds = 30.0
    #: The server that the endpoints run, so that keys left out fit it; "": nothing is assumed.
    preset: PresetName = ""
    #: Sent to these endpoints as "Authorization: Bearer", instead of a caller's; or the file that
    #: holds it. Neither: what callers send, unless [auth] keeps it here.
    api_key: ApiKey = ""
    api_key_file: str = ""
    #: Host of requests. caller: as the caller sent it. endpoint: the host and port of its URL
    #: (Ollama refuses other names). Else the value itself, as HOST or HOST:PORT. The caller's is in
    #: X-Forwarded-Host either way.
    host: Annotated[str, Meta(min_length=1, max_length=259)] = "caller"
    #: Pass a caller's Cookie on. Inference servers need none, and a browser's session is a secret.
    cookies: bool = False
    #: header: the engine gets the priority of a caller's key, in X-Vllm-Priority, or with preset
    #: sglang in X-Override-Priority. vLLM needs --scheduling-policy priority for it.
    engine_priority: Literal["off", "header"] = "off"
    #: Callers that share the engine's prefix cache: those of a tenant, or of a key. The cache_salt
    #: that keeps others apart is made with auth.cache_salt_secret (vLLM; CVE-2025-46570).
    cache_salt: Literal["off", "tenant", "key"] = "off"
    surface: Surface = field(default_factory=Surface)
    health: Health = field(default_factory=Health)
    warmup: Warmup = field(default_factory=Warmup)
    breaker: Breaker = field(default_factory=Breaker)
    pool: Pool = field(default_factory=Pool)
    admission: Admission = field(default_factory=Admission)
    timeouts: Timeouts = field(default_factory=Timeouts)
    retry: Retry = field(default_factory=Retry)
    hedge: Hedge = field(default_factory=Hedge)
    tls: UpstreamTls = field(default_factory=UpstreamTls)

    def all_models(self) -> tuple[Alias, ...]:
        """The models as structs; a plain name serves itself."""
        return tuple(Alias(name=m, serves=m) if isinstance(m, str) else m for m in self.models)

    def is_secure(self) -> bool:
        """True if any endpoint is https://."""
        return any(e.url.startswith("https://") for e in self.all_endpoints())

    def all_endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints as structs, strings given a weight of 1."""
        return tuple(Endpoint(url=e) if isinstance(e, str) else e for e in self.endpoints)
