"""The official clients through a real proxy process, against the simulator."""

from concurrent.futures import ThreadPoolExecutor

import anthropic
import openai
import pytest

from tests.support.until import wait_until

MESSAGES = [{"role": "user", "content": "say something"}]


@pytest.fixture
def client(proxy):
    with openai.OpenAI(base_url=f"{proxy.url}/v1", api_key="k", max_retries=0) as c:
        yield c


def stream_text(client, **more):
    with client.chat.completions.create(
        model="sim-1", messages=MESSAGES, stream=True, **more
    ) as chunks:
        return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def test_streaming_and_whole_answers_agree(client):
    text = stream_text(client, max_tokens=12)
    whole = client.chat.completions.create(model="sim-1", messages=MESSAGES, max_tokens=12)
    assert whole.choices[0].message.content == text
    assert whole.usage.completion_tokens == 12


def test_usage_comes_when_asked_for(client):
    with client.chat.completions.create(
        model="sim-1", messages=MESSAGES, stream=True, max_tokens=5,
        stream_options={"include_usage": True},
    ) as chunks:  # fmt: skip
        used = [c.usage for c in chunks if c.usage]
    assert [u.completion_tokens for u in used] == [5]


def test_two_choices_and_a_tool_call(client):
    two = client.chat.completions.create(model="sim-1", messages=MESSAGES, n=2, max_tokens=3)
    assert len(two.choices) == 2
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    called = client.chat.completions.create(
        model="sim-1", messages=MESSAGES, tools=[tool], tool_choice="required"
    )
    assert called.choices[0].message.tool_calls[0].function.name == "look"


def test_the_anthropic_client_streams(proxy):
    with anthropic.Anthropic(base_url=proxy.url, api_key="k", max_retries=0) as c:
        with c.messages.stream(model="sim-1", max_tokens=7, messages=MESSAGES) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
        assert final.usage.output_tokens == 7
        assert text == final.content[0].text


def test_an_abort_in_mid_stream_frees_the_slot(client, sim, proxy):
    aborted = sim.stats.aborted
    with client.chat.completions.create(
        model="sim-1", messages=MESSAGES, stream=True, max_tokens=100_000
    ) as chunks:
        next(iter(chunks))
    wait_until(lambda: sim.stats.aborted == aborted + 1 and sim.stats.running == 0)
    status = proxy.until_quiet()
    # A close over unread bytes is seen as a reset.
    (outcome,) = {r["outcome"] for r in status["requests"]}
    assert outcome in ("downstream/relaying/closed", "downstream/relaying/reset")


def test_errors_of_the_server_pass_unchanged(client):
    with pytest.raises(openai.RateLimitError) as found:
        client.chat.completions.create(
            model="sim-1", messages=MESSAGES, extra_headers={"x-sim-fault": "status=429"}
        )
    assert found.value.response.headers["retry-after"] == "1"
    assert "was asked for" in str(found.value)


@pytest.mark.parametrize("fault", ["cut=3", "clean-cut=3", "cut-mid-event=3"])
def test_a_cut_response_never_looks_complete(client, fault):
    with pytest.raises((openai.APIError, openai.APIConnectionError, Exception)) as found:
        stream_text(client, max_tokens=50, extra_headers={"x-sim-fault": fault})
    assert found.type.__name__ in ("APIError", "RemoteProtocolError", "APIConnectionError")


def test_a_server_that_does_not_speak_http_is_502(client):
    with pytest.raises(openai.InternalServerError) as found:
        client.chat.completions.create(
            model="sim-1", messages=MESSAGES, extra_headers={"x-sim-fault": "garbage-head"}
        )
    assert found.value.status_code == 502


def test_sixty_four_at_once(proxy, sim):
    def one(k):
        with openai.OpenAI(base_url=f"{proxy.url}/v1", api_key="k", max_retries=0) as c:
            return len(stream_text(c, max_tokens=20 + k % 5))

    with ThreadPoolExecutor(64) as pool:
        assert all(pool.map(one, range(64)))
    wait_until(lambda: sim.stats.running == 0)
