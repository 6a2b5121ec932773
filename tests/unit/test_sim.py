"""The simulator as the official clients and as raw HTTP see it."""

import json

import aiohttp
import anthropic
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from zeroproxy.sim import SimOptions, Simulator

DIRECTIVE = [{"role": "user", "content": "one two three"}]
TOOL = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
}
FAST = {"tokens_per_second": 1000.0, "ttft": 0.0}


@pytest.fixture
async def sim():
    async with Simulator(SimOptions(**FAST)) as simulator:
        yield simulator


@pytest.fixture
async def client(sim):
    async with openai.AsyncOpenAI(base_url=f"{sim.url}/v1", api_key="k", max_retries=0) as c:
        yield c


@pytest.fixture
async def claude(sim):
    async with anthropic.AsyncAnthropic(base_url=sim.url, api_key="k", max_retries=0) as c:
        yield c


@pytest.fixture
async def http(sim):
    async with aiohttp.ClientSession(sim.url) as session:
        yield session


def chat(client, **more):
    return client.chat.completions.create(model="sim-1", messages=DIRECTIVE, **more)


async def events(http, path="/v1/chat/completions", **body):
    """The data of each event, [DONE] included."""
    body = {"model": "sim-1", "messages": DIRECTIVE, "stream": True, **body}
    async with http.post(path, json=body) as response:
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        text = (await response.read()).decode()
    assert text.endswith("\n\n")
    return [e.split("data: ", 1)[1] for e in text.split("\n\n")[:-1]]


# ---------------------------------------------------------------- chat and text completions


async def test_a_chat_streams_the_text_that_it_also_gives_whole(client, sim):
    whole = await chat(client, max_tokens=9)
    chunks = [c async for c in await chat(client, max_tokens=9, stream=True)]
    text = "".join(c.choices[0].delta.content or "" for c in chunks)
    assert text == whole.choices[0].message.content
    assert len(chunks) == 10
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "length"
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (3, 9)
    assert (sim.stats.prompt_tokens, sim.stats.completion_tokens) == (6, 18)
    assert (sim.stats.begun, sim.stats.finished, sim.stats.aborted) == (2, 2, 0)


async def test_without_max_tokens_the_prompt_decides_and_the_end_is_a_token(client):
    first, again = await chat(client), await chat(client)
    assert first.choices[0].message == again.choices[0].message
    assert first.choices[0].finish_reason == "stop"
    words = first.choices[0].message.content.split()
    assert first.usage.completion_tokens == len(words) + 1


async def test_usage_comes_last_and_only_when_asked_for(client):
    plain = [c async for c in await chat(client, max_tokens=3, stream=True)]
    assert all(c.usage is None for c in plain)
    assert plain[-1].system_fingerprint
    asked = await chat(client, max_tokens=3, stream=True, stream_options={"include_usage": True})
    chunks = [c async for c in asked]
    assert [c.usage.total_tokens for c in chunks if c.usage] == [6]
    assert chunks[-1].choices == []


async def test_continuous_usage_counts_each_choice_by_itself(http):
    more = {"include_usage": True, "continuous_usage_stats": True}
    found = [
        json.loads(e) for e in (await events(http, max_tokens=2, n=2, stream_options=more))[:-1]
    ]
    by_choice = {0: [], 1: []}
    for chunk in found[:-1]:
        by_choice[chunk["choices"][0]["index"]].append(chunk["usage"]["completion_tokens"])
    assert by_choice == {0: [0, 1, 2], 1: [0, 1, 2]}
    assert found[-1]["usage"] == {"prompt_tokens": 3, "total_tokens": 7, "completion_tokens": 4}


async def test_the_bytes_are_those_of_vllm(http):
    asked = {"max_tokens": 1, "stream_options": {"include_usage": True}}
    role, token, used, done = await events(http, **asked)
    assert done == "[DONE]"
    start = role.partition(',"choices"')[0]
    assert list(json.loads(start + "}")) == ["id", "object", "created", "model"]
    assert role == (
        start + ',"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,'
        '"finish_reason":null}],"prompt_token_ids":null,"prompt_text":null}'
    )
    word = json.loads(token)["choices"][0]["delta"]["content"]
    assert token == (
        start + ',"choices":[{"index":0,"delta":{"content":"' + word + '"},"logprobs":null,'
        '"finish_reason":"length","stop_reason":null,"token_ids":null,"weight_versions":null}],'
        '"kv_transfer_params":null}'
    )
    assert used == (
        start + ',"choices":[],"usage":{"prompt_tokens":3,"total_tokens":4,"completion_tokens":1},'
        '"system_fingerprint":"zeroproxy-sim"}'
    )


async def test_two_choices_differ_and_are_counted_together(client):
    whole = await chat(client, n=2, max_tokens=4)
    texts = [c.message.content for c in whole.choices]
    assert texts[0] != texts[1]
    assert whole.usage.completion_tokens == 8
    streamed = ["", ""]
    async for chunk in await chat(client, n=2, max_tokens=4, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == texts


@pytest.mark.parametrize("prompt", ["a b", ["a b", "c d e"], [1, 2], [[1, 2], [3, 4, 5]]])
async def test_text_completions_take_every_form_of_prompt(client, prompt):
    async def complete_prompt(**more):
        return await client.completions.create(
            model="sim-1", prompt=prompt, n=2, max_tokens=3, **more
        )

    count = 2 if isinstance(prompt[0], (list, str)) and isinstance(prompt, list) else 1
    whole = await complete_prompt()
    assert [c.index for c in whole.choices] == list(range(2 * count))
    assert whole.usage.completion_tokens == 6 * count
    assert whole.usage.prompt_tokens == (5 if count == 2 else 2)
    texts = [""] * 2 * count
    async for chunk in await complete_prompt(stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == [c.text for c in whole.choices]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "go"}}])
async def test_a_tool_is_called_when_the_choice_insists(client, choice):
    tool = {"type": "function", "function": {"name": "go", "parameters": TOOL}}
    asked = {"tools": [tool], "tool_choice": choice}
    whole = await chat(client, **asked)
    call = whole.choices[0].message.tool_calls[0].function
    assert whole.choices[0].finish_reason == "tool_calls"
    assert (call.name, set(json.loads(call.arguments))) == ("go", {"city", "days"})
    arguments, count = "", 0
    async for chunk in await chat(client, stream=True, **asked):
        for part in chunk.choices[0].delta.tool_calls or []:
            arguments += part.function.arguments
            count += 1
    assert arguments == call.arguments
    assert whole.usage.completion_tokens == count + 1
    auto = await chat(client, tools=[tool], tool_choice="auto", max_tokens=2)
    assert auto.choices[0].message.tool_calls is None


async def test_embeddings_have_one_vector_per_input(client):
    found = await client.embeddings.create(model="sim-1", input=["a b", "c"])
    assert [len(d.embedding) for d in found.data] == [64, 64]
    assert found.usage.prompt_tokens == 3
    plain = await client.embeddings.create(model="sim-1", input="a b", encoding_format="float")
    assert plain.data[0].embedding == pytest.approx(found.data[0].embedding)


# ---------------------------------------------------------------- messages


async def test_the_anthropic_client_gets_the_same_streamed_and_whole(claude):
    asked = {"model": "sim-1", "max_tokens": 5, "messages": DIRECTIVE, "system": "be brief"}
    whole = await claude.messages.create(**asked)
    async with claude.messages.stream(**asked) as stream:
        text = "".join([t async for t in stream.text_stream])
        final = await stream.get_final_message()
    assert text == whole.content[0].text == final.content[0].text
    for message in (whole, final):
        assert (message.usage.input_tokens, message.usage.output_tokens) == (5, 5)
        assert message.stop_reason == "max_tokens"
    counted = await claude.messages.count_tokens(
        model="sim-1", messages=DIRECTIVE, system="be brief"
    )
    assert counted.input_tokens == 5


async def test_the_anthropic_client_gets_a_tool_call(claude):
    asked = {
        "model": "sim-1", "max_tokens": 100, "messages": DIRECTIVE,
        "tools": [{"name": "go", "input_schema": TOOL}], "tool_choice": {"type": "any"},
    }  # fmt: skip
    whole = await claude.messages.create(**asked)
    async with claude.messages.stream(**asked) as stream:
        final = await stream.get_final_message()
    for message in (whole, final):
        assert message.stop_reason == "tool_use"
        assert set(message.content[0].input) == {"city", "days"}
    assert whole.content[0].input == final.content[0].input


# ---------------------------------------------------------------- details on demand


async def test_a_prefix_that_was_seen_is_cached():
    options = SimOptions(prefix_cache=True, **FAST)
    prompt = " ".join(f"w{k}" for k in range(40))
    async with (
        Simulator(options) as sim,
        openai.AsyncOpenAI(base_url=f"{sim.url}/v1", api_key="k", max_retries=0) as client,
        anthropic.AsyncAnthropic(base_url=sim.url, api_key="k", max_retries=0) as claude,
    ):
        asked = {
            "model": "sim-1",
            "max_tokens": 1,
            "messages": [{"role": "user", "content": prompt}],
        }
        seen = [(await client.chat.completions.create(**asked)).usage for _ in range(2)]
        assert [u.prompt_tokens for u in seen] == [40, 40]
        assert [u.prompt_tokens_details.cached_tokens for u in seen] == [0, 32]
        used = (await claude.messages.create(**asked)).usage
        assert (used.input_tokens, used.cache_read_input_tokens) == (8, 32)
        assert sim.stats.cached_tokens == 64


async def test_reasoning_is_told_apart_and_counted():
    async with (
        Simulator(SimOptions(reasoning_tokens=3, **FAST)) as sim,
        openai.AsyncOpenAI(base_url=f"{sim.url}/v1", api_key="k", max_retries=0) as client,
    ):
        whole = await chat(client, max_tokens=5)
        assert whole.usage.completion_tokens_details.reasoning_tokens == 3
        assert len(whole.choices[0].message.content.split()) == 2
        parts = {"reasoning": "", "content": ""}
        async for chunk in await chat(client, max_tokens=5, stream=True):
            for key in parts:
                parts[key] += getattr(chunk.choices[0].delta, key, None) or ""
        assert parts["content"] == whole.choices[0].message.content
        assert parts["reasoning"] == whole.choices[0].message.reasoning
        assert sim.stats.reasoning_tokens == 6


async def test_hostile_text_arrives_as_text():
    async with (
        Simulator(SimOptions(hostile=True, **FAST)) as sim,
        openai.AsyncOpenAI(base_url=f"{sim.url}/v1", api_key="k", max_retries=0) as client,
    ):
        text = ""
        async for chunk in await chat(client, max_tokens=60, stream=True):
            text += chunk.choices[0].delta.content or ""
        assert "data: [DONE]\n\n" in text and '"usage":{' in text
        assert text == (await chat(client, max_tokens=60)).choices[0].message.content


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b'{"messages":[]}', 400),
        (b'{"messages":[{"content":"x"}],"max_tokens":0}', 400),
        (b'{"messages":[{"content":"x"}],"n":1000}', 400),
        (b'{"messages":[{"content":"x"}],"stream_options":{}}', 400),
        (b'{"messages":[{"content":"x"}],"model":"gpt"}', 404),
        (b'{"messages":[{"content":"!fault=nonsense"}]}', 400),
    ],
)
async def test_what_is_wrong_is_refused_in_the_shape_of_the_route(http, body, status):
    for path in ("/v1/chat/completions", "/v1/messages"):
        async with http.post(path, data=body) as response:
            if path == "/v1/messages" and b'"n"' in body:
                continue
            assert response.status == status
            found = await response.json()
            assert found["error"]["message"]
            assert found.get("type") == ("error" if path == "/v1/messages" else None)


async def test_models_health_metrics_and_stats(client, http, sim):
    await chat(client, max_tokens=4)
    assert [m.id async for m in client.models.list()] == ["sim-1"]
    async with http.get("/health") as response:
        assert response.status == 200
    async with http.get("/metrics") as response:
        families = text_string_to_metric_families(await response.text())
        values = {s.name: s.value for f in families for s in f.samples}
    assert values["vllm:generation_tokens_total"] == 4
    assert values["vllm:num_requests_running"] == 0
    async with http.get("/sim/stats") as response:
        found = await response.json()
    assert found == sim.stats.as_dict()
    assert (found["connections"], found["peak_running"]) == (2, 1)
    for method, path, status in (("GET", "/nowhere", 404), ("GET", "/v1/messages", 405)):
        async with http.request(method, path) as response:
            assert response.status == status


async def test_it_listens_on_a_unix_socket(tmp_path):
    path = str(tmp_path / "sim")
    async with (
        Simulator(SimOptions(unix=path)) as sim,
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session,
        session.get("http://sim/health") as response,
    ):
        assert (sim.url, response.status) == (f"unix:{path}", 200)
