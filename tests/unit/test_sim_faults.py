"""Errors on demand, byte by byte."""

import asyncio
import json

import openai
import pytest

from tests.support.until import until
from zeroproxy.sim import SimOptions, Simulator
from zeroproxy.sim.faults import Fault, find_fault


@pytest.fixture
async def sim():
    async with Simulator(SimOptions(tokens_per_second=500.0, ttft=0.0)) as simulator:
        yield simulator


async def bytes_and_end(sim, fault, path="/v1/chat/completions", stream=True):
    """All bytes that came, and how the connection ended: fin or reset."""
    reader, writer = await asyncio.open_connection(*sim.url[7:].split(":"))
    body = {"messages": [{"content": "x"}], "max_tokens": 6, "stream": stream}
    data = json.dumps(body).encode()
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: h\r\nx-sim-fault: {fault}\r\n"
        f"Content-Length: {len(data)}\r\n\r\n".encode()
        + data
    )
    found, end = b"", "fin"
    try:
        while data := await reader.read(65536):
            found += data
            if found.endswith(b"0\r\n\r\n"):
                end = "whole"
                break
    except ConnectionResetError:
        end = "reset"
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    return found, end


def tokens(found):
    return found.count(b'"delta":{"content":')


async def test_without_a_fault_all_of_it_comes(sim):
    found, end = await bytes_and_end(sim, "")
    assert (tokens(found), end) == (6, "whole")
    assert sim.stats.faults == 0


@pytest.mark.parametrize(
    ("fault", "count", "ends"),
    [("cut=2", 2, "reset"), ("clean-cut=2", 2, "fin"), ("cut-mid-event=2", 2, "reset")],
)
async def test_a_stream_is_cut_after_so_many_tokens(sim, fault, count, ends):
    found, end = await bytes_and_end(sim, fault)
    assert (tokens(found), end) == (count, ends)
    assert b"[DONE]" not in found
    is_whole_event = found.endswith(b"\n\n\r\n")
    assert is_whole_event == (fault != "cut-mid-event=2")
    assert (sim.stats.faults, sim.stats.aborted, sim.stats.completion_tokens) == (1, 1, 2)


@pytest.mark.parametrize(("fault", "ends"), [("cut", "reset"), ("clean-cut", "fin")])
async def test_a_body_is_cut_in_its_middle(sim, fault, ends):
    found, end = await bytes_and_end(sim, fault, stream=False)
    head, _, body = found.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    assert (len(body), end) == (length // 2, ends)


async def test_an_error_event_is_followed_by_done_in_openai_s_dialect_only(sim):
    found, end = await bytes_and_end(sim, "error-event=1")
    assert (tokens(found), end) == (1, "whole")
    assert b'data: {"error":{"message":"EngineCore' in found
    assert b"data: [DONE]" in found
    found, end = await bytes_and_end(sim, "error-event=1", "/v1/messages")
    assert b'event: error\ndata: {"type":"error","error":{"type":"api_error"' in found
    assert b"[DONE]" not in found and b"message_stop" not in found
    assert end == "whole"
    found, _ = await bytes_and_end(sim, "close-head", stream=False)
    assert found == b""


@pytest.mark.parametrize(
    ("fault", "starts", "ends"),
    [
        ("garbage-head", b"SSH-2.0-not-http\r\n", "fin"),
        ("half-head", b"HTTP/1.1 200 OK\r\nContent-Type: text/ev", "fin"),
        ("close-head", b"", "fin"),
        ("reset-head", b"", "reset"),
    ],
)
async def test_a_head_may_be_anything_but_a_head(sim, fault, starts, ends):
    assert await bytes_and_end(sim, fault) == (starts, ends)


async def test_an_answer_may_lack_its_content_type(sim):
    found, end = await bytes_and_end(sim, "no-content-type")
    assert (tokens(found), end) == (6, "whole")
    assert b"content-type" not in found.lower()
    found, _ = await bytes_and_end(sim, "no-content-type", stream=False)
    head, _, body = found.partition(b"\r\n\r\n")
    assert b"content-type" not in head.lower()
    assert json.loads(body)["usage"]["completion_tokens"] == 6


async def test_a_stall_lasts_until_the_caller_leaves(sim):
    asking = asyncio.ensure_future(bytes_and_end(sim, "stall=2"))
    await until(lambda: sim.stats.completion_tokens == 2 and sim.stats.generated_tokens == 6)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await until(lambda: sim.stats.aborted == 1)
    assert sim.stats.completion_tokens == 2


async def test_a_slow_head_is_a_whole_answer(sim):
    assert (await bytes_and_end(sim, "slow-head=0.01"))[1] == "whole"


async def test_a_status_is_an_error_of_the_client_s_own_kind(sim):
    async with openai.AsyncOpenAI(base_url=f"{sim.url}/v1", api_key="k", max_retries=0) as client:
        for status, kind in ((400, openai.BadRequestError), (429, openai.RateLimitError)):
            with pytest.raises(kind) as found:
                await client.chat.completions.create(
                    model="sim-1",
                    messages=[{"role": "user", "content": f"!fault=status={status} hello"}],
                )
            assert found.value.response.headers.get("retry-after") == (
                "1" if status == 429 else None
            )
    assert sim.stats.begun == 0


def test_the_header_comes_before_the_prompt():
    assert find_fault("cut=3", "!fault=stall hello") == Fault("cut", 3)
    assert find_fault("", "!fault=slow-head=0.5 hello") == Fault("slow-head", 0.5)
    assert find_fault("", "hello !fault=cut") == Fault()
    for wrong in ("nonsense", "cut=x", "status", "status=200", "="):
        with pytest.raises(ValueError, match=r"fault|status"):
            find_fault(wrong, "")
