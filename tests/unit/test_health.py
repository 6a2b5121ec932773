"""Probes, thresholds, wedges: policy/health.py over scripted endpoints and an engine of words."""

import asyncio
from typing import Any

import pytest

from tests.support.members import Member
from tests.support.script_upstream import ScriptConn, ScriptRequest, ScriptUpstream
from tests.support.until import until
from zeroproxy.config import Upstream
from zeroproxy.config_load import parse_config
from zeroproxy.policy.addresses import resolve
from zeroproxy.policy.health import Health


class Engine:
    """The words that were written, and the vitals a test wants."""

    def __init__(self) -> None:
        self.words: list[tuple[int, bool]] = []
        self.loads: list[tuple[float, ...]] = []
        self.quiet: dict[str, Any] = {}
        self.to = {"closed": 0, "half_open": 0, "open": 0}
        self.probe_ok: list[bool] = []
        self.ended: list[float] = []

    def set_endpoint(
        self, index: int, *, up: bool | None = None, load: Any = None, probe_ok: bool | None = None
    ) -> None:
        if load is not None:
            self.loads.append(load)
            return
        if probe_ok is not None:
            self.probe_ok.append(probe_ok)
            return
        assert up is not None
        self.words.append((index, up))

    def end_silent(self, index: int, seconds: float) -> int:
        self.ended.append(seconds)
        n = self.quiet.get("owed", 0)
        self.quiet = {}
        return int(n)

    def vitals(self, *, only: int | None = None) -> list[dict[str, Any]]:
        state = "open" if self.to["open"] else "closed"
        still = {"inflight": 0, "owed": 0, "begun": 0, "quiet_s": 0.0, "heard_s": 0.0,
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


class Ward:
    """A server, the engine's words, and a Health that watches it."""

    def __init__(self, kind: str = "") -> None:
        self.server, self.engine = Server(), Engine()
        self.lines: list[str] = []
        self.health = Health(self.engine, self.lines.append, lambda _: kind)
        self.script = ScriptUpstream(self.server)

    async def __aenter__(self) -> "Ward":
        await self.script.__aenter__()
        self.member = Member(0, await resolve(self.script.url))
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.health.stop()
        await self.script.__aexit__(*error)

    def watch(self, **keys: str) -> None:
        self.health.watch([(upstream(**keys), [self.member])])

    def seen(self) -> dict[str, Any]:
        found = self.health.snapshot(0)
        assert found is not None
        return found

    async def rounds(self, n: int) -> None:
        """Wait for so many more answers to be judged."""
        before = self.seen()["asked"]
        await until(lambda: self.seen()["asked"] >= before + n)


# ---------------------------------------------------------------- thresholds


async def test_three_bad_answers_take_it_out_and_two_good_ones_bring_it_back():
    async with Ward() as ward:
        ward.watch()
        await ward.rounds(2)
        assert ward.engine.words == []
        ward.server.pages[b"/health"] = 500
        await until(lambda: ward.engine.words)
        assert ward.engine.words == [(0, False)]
        assert ward.seen()["bad_in_a_row"] == 3
        assert ward.seen()["reason"] == "GET /health says 500"
        assert ward.health.reasons() == [f"{ward.script.url}: GET /health says 500"]
        ward.server.pages[b"/health"] = 200
        await until(lambda: len(ward.engine.words) == 2)
        assert ward.engine.words[1] == (0, True)
        assert ward.seen()["reason"] == ""
        assert ward.health.reasons() == []
        assert ward.lines == [f"{ward.script.url} is out: GET /health says 500",
                              f"{ward.script.url} is back in rotation"]  # fmt: skip


async def test_an_answer_that_flaps_below_the_threshold_changes_nothing():
    async with Ward() as ward:
        ward.watch()
        for code in (500, 200, 500, 200, 500, 200):
            ward.server.pages[b"/health"] = code
            await ward.rounds(1)
        assert ward.engine.words == []
        assert ward.lines == []


async def test_one_that_flaps_slower_is_said_once_per_change():
    async with Ward() as ward:
        ward.watch()
        for k, code in enumerate((500, 200, 500, 200)):
            ward.server.pages[b"/health"] = code
            await until(lambda k=k: len(ward.engine.words) == k + 1)
        assert [up for _, up in ward.engine.words] == [False, True, False, True]
        assert len(ward.lines) == ward.seen()["changes"] == 4


async def test_silence_and_refusal_have_their_reasons():
    async with Ward() as ward:
        ward.server.pages[b"/health"] = None
        ward.watch()
        await until(lambda: ward.engine.words)
        assert ward.seen()["reason"] == "no answer within 0.05 s"
        ward.member.address = await resolve("http://127.0.0.1:1")
        await until(lambda: ward.seen()["reason"] == "Connection refused")


async def test_no_http_is_no_good_answer():
    async def babble(request: ScriptRequest, conn: ScriptConn) -> None:
        await conn.send(b"SSH-2.0-x\r\n")
        await conn.close()

    async with Ward() as ward:
        ward.script.handler = babble
        ward.watch()
        await until(lambda: ward.engine.words)
        assert ward.seen()["reason"] == "the answer is no HTTP"


@pytest.mark.parametrize(
    ("preset", "code", "is_well"),
    [('""', 404, True), ('""', 401, True), ('"vllm"', 404, False), ('"vllm"', 403, True),
     ('""', 503, False), ('"vllm"', 204, False)],
)  # fmt: skip
async def test_what_counts_as_a_good_answer(preset, code, is_well):
    async with Ward() as ward:
        ward.server.pages[b"/health"] = code
        ward.watch(preset=preset, wedge_after="0")
        await ward.rounds(3)
        assert ward.seen()["up"] == is_well


async def test_the_status_that_is_expected_can_be_another():
    async with Ward() as ward:
        ward.server.pages[b"/health"] = 204
        ward.watch(expect="204")
        await ward.rounds(3)
        assert ward.seen()["up"]


async def test_a_unix_socket_is_asked_too(tmp_path):
    server, engine = Server(), Engine()
    health = Health(engine, lambda _: None, lambda _: "")
    async with ScriptUpstream(server, unix=str(tmp_path / "s")) as script:
        member = Member(0, await resolve(script.url))
        health.watch([(upstream(), [member])])
        await until(lambda: server.health() >= 2)
        assert b"Host: localhost" in script.requests[0].head
        assert len(script.connections) >= 2, "each over a connection of its own"
        await health.stop()
    assert engine.words == []


async def test_a_busy_endpoint_that_misses_its_probe_stays():
    async with Ward() as ward:
        ward.server.pages[b"/health"] = None
        ward.engine.quiet = {"heard_s": 1e18}
        ward.watch()
        await ward.rounds(5)
        assert ward.engine.words == []


async def test_switched_off_nobody_is_asked_and_what_was_out_comes_back():
    async with Ward() as ward:
        ward.server.pages[b"/health"] = 500
        ward.watch()
        await until(lambda: ward.engine.words)
        ward.watch(path='""')
        assert ward.engine.words[-1] == (0, True)
        asked = ward.server.health()
        ward.watch(path='""')
        assert ward.seen()["up"]
        ward.watch()
        await until(lambda: ward.server.health() > asked)


async def test_a_removed_endpoint_is_asked_no_more():
    async with Ward() as ward:
        ward.watch()
        await ward.rounds(1)
        ward.health.watch([(upstream(), [])])
        assert ward.health.snapshot(0) is None
        ward.watch()
        await ward.rounds(1)


# ---------------------------------------------------------------- what a 5xx is held against


async def test_the_engine_is_told_of_the_first_bad_answer_and_of_the_next_good_one():
    async with Ward() as ward:
        ward.watch()
        await ward.rounds(2)
        assert ward.engine.probe_ok == [True]
        ward.server.pages[b"/health"] = 500
        await until(lambda: ward.engine.probe_ok == [True, False])
        assert ward.seen()["up"], "one bad answer takes nobody out"
        ward.server.pages[b"/health"] = 200
        await until(lambda: ward.engine.probe_ok == [True, False, True])


async def test_without_probes_nobody_vouches():
    async with Ward() as ward:
        ward.watch()
        await ward.rounds(1)
        ward.watch(path='""')
        assert ward.engine.probe_ok == [True, False]


async def test_all_drained_is_not_ready():
    async with Ward() as ward:
        ward.watch()
        await ward.rounds(1)
        assert ward.health.reasons() == []
        ward.health.drained = lambda: {0}
        assert ward.health.reasons() == [f"{ward.script.url}: it is being drained"]


# ---------------------------------------------------------------- gone

GONE = {"inflight": 3, "owed": 3, "begun": 1, "quiet_s": 31.0}


@pytest.mark.parametrize("how", ["refused", "mute", "no_http"])
async def test_an_endpoint_that_is_gone_owes_nothing_any_more(how):
    async def babble(request: ScriptRequest, conn: ScriptConn) -> None:
        await conn.send(b"SSH-2.0-x\r\n")
        await conn.close()

    async with Ward() as ward:
        ward.engine.quiet = {**GONE}
        ward.server.pages[b"/health"] = None
        if how == "refused":
            ward.member.address = await resolve("http://127.0.0.1:1")
        if how == "no_http":
            ward.script.handler = babble
        ward.watch()
        await until(lambda: ward.engine.ended)
        assert ward.engine.ended == [30.0]
        assert ward.engine.words == [(0, False)], "first it is out"
        reason = {"refused": "Connection refused", "mute": "no answer within 0.05 s",
                  "no_http": "the answer is no HTTP"}[how]  # fmt: skip
        url = ward.member.address.url
        assert ward.lines[1] == f"{url}: 3 exchanges ended: {reason}, and no byte for 30 s"
        assert ward.seen()["ended"] == 3


@pytest.mark.parametrize(
    ("quiet", "page", "wedge_after"),
    [
        ({**GONE, "quiet_s": 29.0}, None, "30"),  # not silent for long enough
        (GONE, None, "0"),  # never
        (GONE, 503, "30"),  # somebody is there
    ],
)
async def test_what_is_not_gone_goes_on(quiet, page, wedge_after):
    async with Ward() as ward:
        ward.engine.quiet = {**quiet}
        ward.server.pages[b"/health"] = page
        ward.watch(wedge_after=wedge_after)
        await ward.rounds(6)
        assert ward.engine.words == [(0, False)]
        assert ward.engine.ended == []


# ---------------------------------------------------------------- breakers


async def test_a_breaker_that_opens_is_said_and_its_endpoint_asked_at_once():
    async with Ward() as ward:
        ward.watch(interval="3600", timeout="1")
        await ward.rounds(1)
        ward.engine.to["open"] = 1
        ward.health.look()
        await ward.rounds(1)
        ward.health.look()
        assert ward.lines == [f"{ward.script.url}: breaker open, now open; half open in 5.0 s"]


# ---------------------------------------------------------------- wedges

SILENT = {"inflight": 2, "owed": 2, "begun": 0, "quiet_s": 31.0}
PAGE = b"""# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{model_name="a"} %d
vllm:generation_tokens_total{model_name="b"} 5.0
vllm:num_requests_running 2.0
"""
WEDGED = "wedged: it answers its probe, and no exchange makes progress"


async def wedge(ward: Ward, **keys: str) -> None:
    ward.server.pages[b"/metrics"] = PAGE % 100
    ward.engine.quiet = {**SILENT}
    ward.watch(preset='"vllm"', **keys)
    await until(lambda: ward.engine.words)


async def test_counters_that_stand_still_show_a_wedge():
    async with Ward() as ward:
        await wedge(ward)
        assert ward.engine.words == [(0, False)]
        assert ward.seen()["reason"] == WEDGED
        assert ward.seen()["wedged"]
        assert ward.server.asked.count(b"/metrics") == 2
        assert ward.lines == [f"{ward.script.url} is out: {WEDGED}"]


async def test_a_long_prefill_moves_its_counters_and_stays():
    async with Ward() as ward:
        ward.engine.quiet = {**SILENT}
        ward.server.pages[b"/metrics"] = PAGE % 0
        ward.watch(preset='"vllm"')
        for k in range(1, 6):
            seen = ward.server.asked.count(b"/metrics")
            ward.server.pages[b"/metrics"] = PAGE % k
            await until(lambda seen=seen: ward.server.asked.count(b"/metrics") > seen)
        assert ward.engine.words == []


async def test_what_the_server_says_it_is_names_its_page_too():
    async with Ward("vllm") as ward:
        ward.server.pages[b"/metrics"] = PAGE % 100
        ward.engine.quiet = {**SILENT}
        ward.watch()
        await until(lambda: ward.engine.words)
        assert ward.server.asked.count(b"/metrics") == 2


async def test_without_a_page_only_a_response_that_had_begun_is_evidence():
    async with Ward() as ward:
        ward.engine.quiet = {**SILENT}
        ward.watch()
        await ward.rounds(4)
        assert ward.engine.words == []
        ward.engine.quiet["begun"] = 1
        await until(lambda: ward.engine.words)
        assert ward.seen()["reason"] == WEDGED


@pytest.mark.parametrize("sign", ["byte", "counter"])
async def test_it_comes_back_when_it_moves(sign):
    async with Ward() as ward:
        await wedge(ward)
        if sign == "byte":
            ward.engine.quiet = {"heard_s": 1e18}
        else:
            ward.server.pages[b"/metrics"] = PAGE % 101
        await until(lambda: len(ward.engine.words) == 2)
        assert ward.engine.words[1] == (0, True)


async def test_it_comes_back_when_it_answers_a_request_of_ours():
    async with Ward() as ward:
        await wedge(ward)
        ward.server.pages |= {b"/v1/models": b'{"data": [{"id": "m"}]}',
                              b"/v1/chat/completions": b"{}"}  # fmt: skip
        await until(lambda: len(ward.engine.words) == 2)
        (request,) = [r for r in ward.script.requests if r.method == b"POST"]
        assert b'"max_tokens": 1' in request.body
        assert b'"model": "m"' in request.body


async def test_a_request_that_is_refused_is_no_proof_while_others_wait():
    async with Ward() as ward:
        await wedge(ward)
        await until(lambda: ward.server.posts == 2)
        assert len(ward.engine.words) == 1
        ward.engine.quiet = {}
        await until(lambda: len(ward.engine.words) == 2)


async def test_wedges_are_not_looked_for_when_that_is_off():
    async with Ward() as ward:
        await wedge(ward)
        ward.watch(preset='"vllm"', wedge_after="0")
        assert ward.engine.words == [(0, False), (0, True)]
        await ward.rounds(3)
        assert len(ward.engine.words) == 2


async def test_a_failure_of_ours_does_not_end_the_rounds():
    async with Ward() as ward:
        good = ward.engine.vitals

        def broken(*, only: int | None = None) -> list[dict[str, Any]]:
            raise RuntimeError("x")

        ward.engine.vitals = broken  # type: ignore[method-assign]
        ward.watch()
        await until(lambda: ward.lines)
        assert ward.lines[0] == "zeroproxy: health: RuntimeError: x"
        ward.engine.vitals = good  # type: ignore[method-assign]
        await ward.rounds(1)
        await asyncio.wait_for(ward.health.stop(), 5)
