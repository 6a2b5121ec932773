"""`zeroproxy check` on an engine that shall get priorities."""

import asyncio

import pytest
from aiohttp import web

from zeroproxy.commands.check_priority import check_priority
from zeroproxy.commands.check_report import Findings
from zeroproxy.config.schema import Upstream
from zeroproxy.policy.socket_addresses import resolve


def found_of(answer, **settings):
    """Findings about an engine, and fields it saw; `answer`: (fields of a request) -> status."""
    seen = []

    async def chat(request):
        seen.append({k.lower(): v for k, v in request.headers.items() if "riority" in k})
        return web.json_response({}, status=answer(seen[-1]))

    async def models(_):
        return web.json_response({"data": [{"id": "m-1"}]})

    async def run():
        app = web.Application()
        app.router.add_get("/v1/models", models)
        app.router.add_post("/v1/chat/completions", chat)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        findings = Findings()
        upstream = Upstream(name="gpu", endpoints=(url,), **settings)
        await check_priority(findings, upstream, await resolve(url))
        await runner.cleanup()
        return findings.rows

    return asyncio.run(run()), seen


@pytest.mark.parametrize(
    ("preset", "field"), [("vllm", "x-vllm-priority"), ("sglang", "x-override-priority")]
)
def test_an_engine_that_takes_a_priority(preset, field):
    rows, seen = found_of(lambda _: 200, engine_priority="header", preset=preset)
    assert [row[1] for row in rows] == ["ok"] and "accepts a priority" in rows[0][2]
    assert seen == [{field: "1"}]


def test_an_engine_that_refuses_one():
    rows, seen = found_of(lambda fields: 400 if fields else 200, engine_priority="header")
    ((_, state, text),) = rows
    assert state == "warning" and "--scheduling-policy priority" in text
    assert len(seen) == 2 and seen[1] == {}


@pytest.mark.parametrize("status", [404, 500, 400])
def test_an_engine_that_answers_neither(status):
    ((_, state, text),) = found_of(lambda _: status, engine_priority="header")[0]
    assert state == "warning" and f"is not known, a request for one token returned {status}" in text


def test_without_the_switch_nothing_is_asked():
    assert found_of(lambda _: 200) == ([], [])
