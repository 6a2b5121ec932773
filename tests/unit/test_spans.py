"""Names and attributes of a record as a span."""

import pytest

from tests.unit.test_otel import record
from zeroproxy.metering.otel.spans import describe


@pytest.mark.parametrize(
    ("changes", "name", "operation"),
    [
        ({}, "chat qwen", "chat"),
        ({"model": ""}, "chat", "chat"),
        ({"path": "/openai/v1/chat/completions"}, "chat qwen", "chat"),
        ({"path": "/v1/messages"}, "chat qwen", "chat"),
        ({"path": "/v1/responses"}, "chat qwen", "chat"),
        ({"path": "/api/chat"}, "chat qwen", "chat"),
        ({"path": "/v1/completions"}, "text_completion qwen", "text_completion"),
        ({"path": "/generate_stream"}, "text_completion qwen", "text_completion"),
        ({"path": "/api/generate"}, "text_completion qwen", "text_completion"),
        ({"path": "/v1/embeddings"}, "embeddings qwen", "embeddings"),
        ({"path": "/v1/rerank"}, "POST /v1/rerank", None),
        ({"method": "GET", "path": "/v1/models", "model": ""}, "GET /v1/models", None),
        ({"method": "GET"}, "GET /v1/chat/completions", None),
        ({"method": "OTHER", "path": "/x", "model": ""}, "HTTP /x", None),
        ({"method": "OTHER", "path": "", "model": ""}, "HTTP", None),
    ],
)
def test_the_name_is_the_operation_and_the_model_or_the_method_and_the_path(
    changes, name, operation
):
    found = describe(record(**changes))
    assert found.name == name
    assert found.attributes.get("gen_ai.operation.name") == operation


@pytest.mark.parametrize(
    ("endpoint", "address", "port"),
    [
        ("http://10.0.0.1:8000", "10.0.0.1", 8000),
        ("http://vllm", "vllm", 80),
        ("http://[::1]:8000/", "::1", 8000),
        ("unix:/run/vllm.sock", "/run/vllm.sock", None),
        ("", None, None),
        ("http://[", None, None),
    ],
)
def test_the_server_is_the_endpoint(endpoint, address, port):
    found = describe(record(endpoint=endpoint)).attributes
    assert found.get("server.address") == address
    assert found.get("server.port") == port


def test_what_is_not_known_is_left_out():
    counts = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
    unknown = record(
        **dict.fromkeys(counts), model="", tenant="", queue_ns=0, connect_ns=0, status=0,
        streamed=False, exactness="none", method="OTHER", path="", endpoint="",
    )  # fmt: skip
    assert describe(unknown).attributes == {
        "http.request.method": "_OTHER", "zeroproxy.outcome": "ok", "zeroproxy.exactness": "none",
        "zeroproxy.request_id": "req-1", "zeroproxy.upstream": "vllm", "zeroproxy.finish": "done",
        "zeroproxy.tried": 1, "zeroproxy.events": 12, "zeroproxy.record_id": "00000000000000aa-7",
    }  # fmt: skip


def test_a_count_of_zero_is_known():
    found = describe(record(cached_tokens=0)).attributes
    assert found["gen_ai.usage.cache_read.input_tokens"] == 0


def test_the_model_that_answered_is_named_only_where_usage_was_read():
    found = describe(record(exactness="none")).attributes
    assert found["gen_ai.request.model"] == "qwen"
    assert "gen_ai.response.model" not in found


def test_an_endpoints_own_500_is_an_error_of_that_number():
    found = describe(record(status=500))
    assert found.failed
    assert found.attributes["error.type"] == "500"
    assert "error.type" not in describe(record(status=404)).attributes
