"""The simulator's accounts: the tokens it sent of each answer."""

import aiohttp
import pytest

from tests.support.until import until
from zeroproxy.sim import SimOptions, Simulator

PATHS = {"chat": "/v1/chat/completions", "text": "/v1/completions", "messages": "/v1/messages"}
PROMPT = "one two three"


@pytest.fixture
async def sim():
    options = {"tokens_per_second": 1000.0, "ttft": 0.0, "accounts": 100, "reasoning_tokens": 2}
    async with Simulator(SimOptions(**options)) as simulator:
        yield simulator


@pytest.fixture
async def http(sim):
    async with aiohttp.ClientSession(sim.url, headers={"x-request-id": "mine"}) as session:
        yield session


def body(kind, **more):
    said = {"prompt": PROMPT} if kind == "text" else {}
    if not said:
        said = {"messages": [{"role": "user", "content": PROMPT}]}
    return {"model": "sim-1", "max_tokens": 9, **said, **more}


async def accounts(http):
    async with http.get("/sim/accounts") as response:
        return (await response.json())["accounts"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", PATHS)
async def test_an_answer_that_ended_was_written_whole(http, kind, stream):
    async with http.post(PATHS[kind], json=body(kind, stream=stream)) as response:
        await response.read()
    assert await accounts(http) == [{
        "request_id": "mine", "path": PATHS[kind], "model": "sim-1", "prompt": 3, "cached": 0,
        "generated": 9, "written": 9, "reasoning": 2 if kind == "chat" else 0, "finished": True,
    }]  # fmt: skip


async def test_an_answer_that_was_cut_says_how_far_it_got(http):
    with pytest.raises(aiohttp.ClientError):
        async with http.post(
            PATHS["chat"], json=body("chat", stream=True), headers={"x-sim-fault": "clean-cut=4"}
        ) as response:
            await response.read()
    (account,) = await accounts(http)
    assert (account["generated"], account["written"], account["finished"]) == (5, 4, False)


async def test_an_aborted_answer_counts_what_the_engine_made_until_then(http, sim):
    async with http.post(PATHS["chat"], json=body("chat", stream=True, max_tokens=9999)) as answer:
        await answer.content.readuntil(b'"content"')
        answer.close()
    await until(lambda: sim.stats.aborted)
    (account,) = await accounts(http)
    assert 0 < account["written"] <= account["generated"] <= sim.stats.generated_tokens
    assert not account["finished"]


async def test_embeddings_count_their_prompt(http):
    async with http.post("/v1/embeddings", json={"model": "m", "input": PROMPT}) as response:
        await response.read()
    (account,) = await accounts(http)
    assert (account["prompt"], account["generated"], account["finished"]) == (3, 0, True)


async def test_nothing_is_remembered_unless_asked_for():
    async with (
        Simulator(SimOptions(tokens_per_second=1000.0)) as sim,
        aiohttp.ClientSession(sim.url) as http,
    ):
        async with http.post(PATHS["chat"], json=body("chat")) as response:
            await response.read()
        assert await accounts(http) == []
