"""Options of the simulator, and its counters."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True)
class SimOptions:
    """Times in seconds. Raises ValueError for values that make no sense."""

    host: str = "127.0.0.1"
    port: int = 0  # 0: any that is free
    unix: str = ""  # path of a unix socket, instead of host and port
    models: tuple[str, ...] = ("sim-1",)  # the first is the default; empty: any name is served
    tokens_per_second: float = 50.0  # steps per second; a step gives each running choice a token
    step_growth: float = 0.0  # a step takes this share longer for every further choice in it
    ttft: float = 0.02
    prefill_per_token: float = 0.0  # per prompt token that is not in the prefix cache
    max_running: int = 64  # choices, not requests, as vLLM counts them
    min_length: int = 16  # an answer without max_tokens is this long,
    max_length: int = 64  # or up to this: the prompt decides
    max_model_len: int = 131072  # longer prompts are refused
    reasoning_tokens: int = 0  # so many tokens of a chat answer are reasoning
    prefix_cache: bool = False  # keep one and report cached_tokens
    hostile: bool = False  # the text spells usage objects, [DONE] and SSE framing
    embedding_size: int = 64
    accounts: int = 0  # so many answers are remembered, for GET /sim/accounts
    cold: float = 0.0  # seconds from the first request for a model to its first token
    keep_alive: float = 5.0  # uvicorn's default, hence that of vLLM and most others

    def __post_init__(self) -> None:
        if not self.tokens_per_second > 0:
            raise ValueError("tokens_per_second must be more than 0")
        if not 0 <= self.port <= 65535:
            raise ValueError("port must be 0 to 65535")
        if self.max_running < 1:
            raise ValueError("max_running must be at least 1")
        if not 1 <= self.min_length <= self.max_length:
            raise ValueError("lengths must satisfy 1 <= min_length <= max_length")
        if self.accounts < 0:
            raise ValueError("accounts must not be negative")


@dataclass
class Stats:
    """Counters of the simulator. Token counts are of what was written to sockets,
    except `generated_tokens`, which the engine produced whether or not anyone still listened."""

    begun: int = 0
    finished: int = 0
    aborted: int = 0  # left before the last byte: the caller's doing or a fault's
    faults: int = 0
    met_cold: int = 0  # requests that came while their model was cold
    prompt_tokens: int = 0  # of requests whose answer began
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    generated_tokens: int = 0
    running: int = 0
    waiting: int = 0
    peak_running: int = 0
    connections: int = 0  # accepted so far
    open_connections: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)
