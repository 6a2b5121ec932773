"""A real llama.cpp server behind the proxy, asked by the official clients."""

import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import anthropic
import openai
import pytest

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
ASK = {"model": "smollm2", "temperature": 0, "seed": 7}
MESSAGES = [{"role": "user", "content": "Name three colours."}]


def client_of(url):
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=120)


@pytest.fixture
def client(proxy):
    with client_of(proxy.url) as c:
        yield c


def stream(client, **more):
    """(text, usage) of a streamed chat completion."""
    used, text = None, ""
    with client.chat.completions.create(**ASK, messages=MESSAGES, stream=True, **more) as chunks:
        for c in chunks:
            text += (c.choices[0].delta.content or "") if c.choices else ""
            used = c.usage or used
    return text, used


def busy_slots(url):
    with urllib.request.urlopen(f"{url}/slots", timeout=10) as response:
        return sum(slot["is_processing"] for slot in json.load(response))


def test_a_streamed_answer_is_what_the_server_says_directly(client, llama):
    options = {"include_usage": True}
    through = stream(client, max_tokens=24, stream_options=options)
    with client_of(llama) as direct:
        text, used = stream(direct, max_tokens=24, stream_options=options)
    assert text == through[0]
    assert used.completion_tokens == through[1].completion_tokens == 24


def test_a_whole_answer_and_two_choices(client):
    one = client.chat.completions.create(**ASK, messages=MESSAGES, max_tokens=12)
    assert one.usage.completion_tokens == 12
    two = client.chat.completions.create(**ASK, messages=MESSAGES, max_tokens=6, n=2)
    assert len(two.choices) == 2


CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}},
    "required": ["city"],
}


def test_a_grammar_is_obeyed_through_the_proxy(client):
    schema = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}}
    answer = client.chat.completions.create(
        **ASK, messages=MESSAGES, max_tokens=64, response_format=schema
    )
    assert json.loads(answer.choices[0].message.content)["city"] in ("Rome", "Oslo")


def test_tools_reach_the_server_and_its_answer_comes_back(client, llama):
    # This model's template knows no tools: it answers in text. So the test compares the text with
    # and without the proxy; a real call is tested with the simulator.
    tool = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
    ask = {
        **ASK,
        "messages": MESSAGES,
        "max_tokens": 32,
        "tools": [tool],
        "tool_choice": "required",
    }
    with client_of(llama) as direct:
        wanted = direct.chat.completions.create(**ask).choices[0].message
    assert client.chat.completions.create(**ask).choices[0].message == wanted


def test_an_abort_in_mid_stream_frees_the_slot(client, llama):
    with client.chat.completions.create(
        **ASK, messages=MESSAGES, stream=True, max_tokens=1500
    ) as chunks:
        next(iter(chunks))
        assert busy_slots(llama) == 1
    deadline = time.monotonic() + 10
    while busy_slots(llama):
        assert time.monotonic() < deadline, "the slot is still busy"
        time.sleep(0.05)


def test_sixty_four_at_once_all_succeed(proxy):
    def one(_):
        with client_of(proxy.url) as c:
            return stream(c, max_tokens=4)[0]

    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(one, range(64)))
    assert len(answers) == 64
    assert all(answers)
    status = proxy.until_quiet()
    assert sum(r["count"] for r in status["requests"] if r["status"] != 200) == 0


def test_the_proxy_counts_what_the_server_reports(proxy, client):
    used = [stream(client, max_tokens=k, stream_options={"include_usage": True})[1]
            for k in (3, 9)]  # fmt: skip
    used.append(client.chat.completions.create(**ASK, messages=MESSAGES, max_tokens=5).usage)
    (counted,) = proxy.until_idle()["tokens"]
    assert counted["completion"] == sum(u.completion_tokens for u in used)
    assert counted["prompt"] == sum(u.prompt_tokens for u in used)
    assert counted["model"] == "smollm2"


def test_errors_pass_unchanged(client):
    with pytest.raises(openai.BadRequestError) as found:
        client.chat.completions.create(
            **ASK, messages=[{"role": "user", "content": "word " * 9000}], max_tokens=4
        )
    assert "context" in str(found.value)


def test_models_and_the_native_completion_stream(proxy, client):
    assert [m.id for m in client.models.list()] == ["smollm2"]
    request = urllib.request.Request(
        f"{proxy.url}/completion",
        json.dumps({"prompt": "One, two,", "n_predict": 5, "stream": True}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        events = [json.loads(line[6:]) for line in response if line.startswith(b"data: {")]
    assert events[-1]["stop"] is True
    assert events[-1]["tokens_predicted"] == 5


def test_the_anthropic_client(proxy):
    with anthropic.Anthropic(base_url=proxy.url, api_key="none", max_retries=0) as c:
        whole = c.messages.create(model="smollm2", max_tokens=8, messages=MESSAGES)
        assert whole.usage.output_tokens == 8
        with c.messages.stream(model="smollm2", max_tokens=8, messages=MESSAGES) as events:
            assert "".join(events.text_stream)


def test_requests_in_a_row_never_meet_a_stale_connection(client):
    # The server closes after every stream although it announces keep-alive: a pooling race.
    for _ in range(30):
        assert stream(client, max_tokens=1)[0] is not None
