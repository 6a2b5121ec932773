"""Probes, thresholds, wedges: policy/health.py over scripted endpoints and a fake engine."""

import asyncio
import errno
from typing import Any

import aiohttp
import pytest

from tests.support.endpoint_set import ActiveEndpoint
from tests.support.script_upstream import ScriptConn, ScriptRequest, ScriptUpstream
from tests.support.until import until
from tests.support.ward import Engine, Server, Ward, upstream, watch
from zeroproxy.policy import proxy_readiness as readiness
from zeroproxy.policy.health import Health
from zeroproxy.policy.rotation import Rotation
from zeroproxy.policy.socket_addresses import resolve

# ---------------------------------------------------------------- thresholds


async def test_what_the_proxy_itself_lacks_is_no_evidence_against_an_endpoint(monkeypatch):
    async with Ward() as ward:
        ward.watch()
        await ward.rounds(1)
        tried = []

        async def out_of_descriptors(*_: Any, **__: Any) -> None:
            tried.append(1)
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr(aiohttp.connector.aiohappyeyeballs, "start_connection",
                            out_of_descriptors)  # fmt: skip
        await until(lambda: len(tried) > 5)
        assert (ward.seen()["up"], ward.seen()["bad_in_a_row"]) == (True, 0)
        assert ward.lines == ["the proxy itself cannot probe: Too many open files"]
        monkeypatch.setattr(readiness, "connect", out_of_descriptors)
        assert await readiness.can_connect(ward.member.address) == (
            f"{ward.script.url}: the proxy itself cannot probe: Too many open files"
        )


async def test_three_bad_answers_take_it_out_and_two_good_ones_bring_it_back():
    async with Ward() as ward:
        ward.watch()
        await ward.rounds(2)
        assert ward.engine.words == []
        ward.server.pages[b"/health"] = 500
        await until(lambda: ward.engine.words)
        assert ward.engine.words == [(0, False)]
        assert ward.seen()["bad_in_a_row"] == 3
        assert ward.seen()["reason"] == "GET /health returned 500"
        assert ward.rotation.reasons() == [f"{ward.script.url}: GET /health returned 500"]
        ward.server.pages[b"/health"] = 200
        await until(lambda: len(ward.engine.words) == 2)
        assert ward.engine.words[1] == (0, True)
        assert ward.seen()["reason"] == ""
        assert ward.rotation.reasons() == []
        assert ward.lines == [f"{ward.script.url} is out: GET /health returned 500",
                              f"{ward.script.url} is back in rotation"]  # fmt: skip


async def test_an_answer_that_flaps_below_the_threshold_changes_nothing():
    async with Ward() as ward:
        ward.watch()
        for code in (500, 200, 500, 200, 500, 200):
            ward.server.pages[b"/health"] = code
            await ward.rounds(1)
        assert ward.engine.words == []
        assert ward.lines == []


async def test_one_that_flaps_slower_is_logged_once_per_change():
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


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"SSH-2.0-x\r\n", "the answer is no valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nA b\r\n\r\n", "the answer is no valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nA:", "the connection was closed without an answer"),
        (b"", "the connection was closed without an answer"),
    ],
)
async def test_no_http_is_no_good_answer(answer, reason):
    async def babble(request: ScriptRequest, conn: ScriptConn) -> None:
        await conn.send(answer)
        await conn.close()

    async with Ward() as ward:
        ward.script.handler = babble
        ward.watch()
        await until(lambda: ward.engine.words)
        assert ward.seen()["reason"] == reason


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
    rotation = Rotation(engine)
    health = Health(engine, rotation, lambda _: "")
    async with ScriptUpstream(server, unix=str(tmp_path / "s")) as script:
        member = ActiveEndpoint(0, await resolve(script.url))
        watch([(upstream(), [member])], rotation, health)
        await until(lambda: server.health() >= 2)
        assert b"Host: localhost" in script.requests[0].head
        assert len(script.connections) >= 2, "each over a connection of its own"
        await health.stop()
    assert engine.words == []


async def test_the_path_is_asked_for_as_it_is_written_and_a_redirect_is_not_followed():
    async with Ward() as ward:
        path = "//health/../%7e?a=%2F"
        ward.server.pages[path.encode()] = 302
        ward.watch(path=f'"{path}"', expect="302")
        await ward.rounds(2)
        assert ward.seen()["up"]
        assert set(ward.server.asked) == {path.encode()}


async def test_a_busy_endpoint_that_misses_its_probe_stays():
    async with Ward() as ward:
        ward.server.pages[b"/health"] = None
        ward.engine.quiet = {"last_data_s": 1e18}
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
        watch([(upstream(), [])], ward.rotation, ward.health)
        assert ward.health.snapshot(0) is None
        ward.watch()
        await ward.rounds(1)


# ---------------------------------------------------------------- breakers


async def test_a_breaker_that_opens_is_logged_and_its_endpoint_probed_at_once():
    async with Ward() as ward:
        ward.watch(interval="3600", timeout="1")
        await ward.rounds(1)
        ward.engine.to["open"] = 1
        ward.health.on_breaker_change()
        await ward.rounds(1)
        ward.health.on_breaker_change()
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
            ward.engine.quiet = {"last_data_s": 1e18}
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
        good = ward.engine.health_sample

        def broken(*, only: int | None = None) -> list[dict[str, Any]]:
            raise RuntimeError("x")

        ward.engine.health_sample = broken  # type: ignore[method-assign]
        ward.watch()
        await until(lambda: ward.lines)
        assert ward.lines[0] == "health: RuntimeError: x"
        ward.engine.health_sample = good  # type: ignore[method-assign]
        await ward.rounds(1)
        await asyncio.wait_for(ward.health.stop(), 5)
