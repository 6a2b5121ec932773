"""Health over scripted endpoints and a fake engine."""

from __future__ import annotations

from typing import Any

from tests.support.endpoint_set import ActiveEndpoint
from tests.support.log_lines import LogLines
from tests.support.script_upstream import ScriptConn, ScriptRequest, ScriptUpstream
from tests.support.until import until
from zeroproxy._fast.engine.settings_types import ReportedLoad
from zeroproxy.config.load import parse_config
from zeroproxy.config.schema import Upstream
from zeroproxy.policy.health import Health
from zeroproxy.policy.rotation import Rotation
from zeroproxy.policy.socket_addresses import resolve


class Engine:
    """The settings that were written, and the health sample a test wants."""

    def __init__(self) -> None:
        self.words: list[tuple[int, bool]] = []
        self.loads: list[ReportedLoad] = []
        self.quiet: dict[str, Any] = {}
        self.to = {"closed": 0, "half_open": 0, "open": 0}
        self.probe_ok: list[bool] = []
        self.ended: list[float] = []

    def set_endpoint(
        self,
        index: int,
        *,
        up: bool | None = None,
        load: ReportedLoad | None = None,
        probe_ok: bool | None = None,
        loading: bool | None = None,
    ) -> None:
        if load is not None:
            self.loads.append(load)
            return
        if probe_ok is not None:
            self.probe_ok.append(probe_ok)
            return
        assert up is not None
        self.words.append((index, up))

    def end_silent(self, index: int, *, seconds: float) -> int:
        self.ended.append(seconds)
        n = self.quiet.get("owed", 0)
        self.quiet = {}
        return int(n)

    def health_sample(self, *, only: int | None = None) -> list[Any]:
        state = "open" if self.to["open"] else "closed"
        still = {"inflight": 0, "owed": 0, "begun": 0, "quiet_s": 0.0, "last_data_s": 0.0,
                 "due_s": 5.0}  # fmt: skip
        return [{"index": 0, "breaker": {"state": state, "to": dict(self.to)},
                 **still, **self.quiet}]  # fmt: skip


class Server:
    """Answers by path; a path that is not there is a 404, None is silence."""

    def __init__(self) -> None:
        self.pages: dict[bytes, bytes | int | None] = {b"/health": 200}
        self.asked: list[bytes] = []
        self.posts = 0

    async def __call__(self, request: ScriptRequest, conn: ScriptConn) -> None:
        self.asked.append(request.target)
        self.posts += request.method == b"POST"
        page = self.pages.get(request.target, 404)
        if page is None:
            return
        status, body = (page, b"") if isinstance(page, int) else (200, page)
        head = b"HTTP/1.1 %d x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        await conn.send(head % (status, len(body)) + body)
        await conn.close()

    def health(self) -> int:
        return self.asked.count(b"/health")


def upstream(**keys: str) -> Upstream:
    words = {"interval": "0.05", "timeout": "0.05", "wedge_after": "30", **keys}
    preset = words.pop("preset", '""')
    balance = words.pop("balance", '"least_inflight"')
    health = ", ".join(f"{k} = {v}" for k, v in words.items())
    text = f'[[upstream]]\nname = "u"\nendpoints = ["http://127.0.0.1:1"]\npreset = {preset}\n'
    text += f"balance = {balance}\n"
    return parse_config(f"{text}health = {{ {health} }}\n").upstream[0]


def watch(groups: list[Any], rotation: Rotation, health: Health) -> None:
    """As a worker does it."""
    rotation.watch(groups)
    health.watch(groups)


class Ward:
    """A server, the fake engine, and a Health that watches it."""

    def __init__(self, kind: str = "") -> None:
        self.server, self.engine = Server(), Engine()
        self.log = LogLines()
        self.lines = self.log.messages
        self.drained: set[int] = set()
        self.rotation = Rotation(self.engine, lambda: self.drained)
        self.health = Health(self.engine, self.rotation, lambda _: kind)
        self.script = ScriptUpstream(self.server)

    async def __aenter__(self) -> Ward:
        self.log.__enter__()
        await self.script.__aenter__()
        self.member = ActiveEndpoint(0, await resolve(self.script.url))
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.health.stop()
        await self.script.__aexit__(*error)
        self.log.__exit__()

    def watch(self, **keys: str) -> None:
        watch([(upstream(**keys), [self.member])], self.rotation, self.health)

    def seen(self) -> dict[str, Any]:
        found = self.health.snapshot(0)
        assert found is not None
        return found

    async def rounds(self, n: int) -> None:
        """Wait for so many more answers to be judged."""
        before = self.seen()["asked"]
        await until(lambda: self.seen()["asked"] >= before + n)
