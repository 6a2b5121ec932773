"""R8: an error of our own is one in the dialect of its path, as an answer and as a last event."""

import json

import pytest

from tests.support.exchanges import waiting
from tests.support.script import SSE_HEAD, chunk, event, play, post, split_head

WHY = "the inference server closed the connection before the response was complete"
OPENAI = {"error": {"message": WHY, "type": "api_error", "param": None, "code": 502}}
TGI = {"error": WHY, "error_type": "generation"}
ANTHROPIC = {"type": "error", "error": {"type": "api_error", "message": WHY}}
OLLAMA = {"error": WHY}
WORKER = {"text": WHY, "error_code": 50001}
RESPONSES = {
    "type": "error", "sequence_number": 2, "code": "server_error", "message": WHY, "param": None,
}  # fmt: skip
LINES_HEAD = SSE_HEAD.replace(b"text/event-stream; charset=utf-8", b"application/x-ndjson")
BARE_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("path", "name", "said"),
    [
        ("/v1/chat/completions", "", OPENAI),
        ("/v1/completions", "", OPENAI),
        ("/completion", "", OPENAI),
        ("/v1/audio/transcriptions", "", OPENAI),
        ("/v1/messages", "error", ANTHROPIC),
        ("/anthropic/v1/messages", "error", ANTHROPIC),
        ("/v1/responses", "error", RESPONSES),
        ("/v1/responses/resp_1", "error", RESPONSES),
        ("/generate_stream", "", TGI),
        ("/v2/models/m/generate_stream", "", TGI),
        ("/generate", "", OPENAI),
        ("/api/chat", "", OLLAMA),
    ],
)
def test_the_last_event_of_a_cut_stream(path, name, said):
    with play() as script:
        d, u = waiting(script, post(path.encode()))
        u.send(SSE_HEAD + chunk(event() + event()))
        d.receive()
        u.close()
        last = d.receive().partition(b"\r\n")[2].removesuffix(b"\r\n").decode()
        head, _, data = last.rpartition("data: ")
        assert head == (f"event: {name}\n" if name else "")
        assert json.loads(data) == said
        assert data.endswith("}\n\n")


@pytest.mark.parametrize(
    ("path", "head", "end", "said"),
    [
        ("/api/chat", LINES_HEAD, "\n", OLLAMA),
        ("/api/generate", BARE_HEAD, "\n", OLLAMA),
        ("/api/pull", LINES_HEAD, "\n", OLLAMA),
        ("/worker_generate_stream", BARE_HEAD, "\0", WORKER),
        ("/v1/chat/completions", LINES_HEAD, "\n", OPENAI),
        ("/generate", LINES_HEAD, "\n", TGI),
        ("/v1/responses", LINES_HEAD, "\n", OPENAI),
    ],
)
def test_the_last_line_of_a_cut_series_of_json_texts(path, head, end, said):
    with play() as script:
        d, u = waiting(script, post(path.encode()))
        u.send(head + chunk(b'{"text":"x"}' + end.encode()))
        d.receive()
        u.close()
        last = d.receive().partition(b"\r\n")[2].removesuffix(b"\r\n").decode()
        assert last.endswith(end)
        assert json.loads(last[:-1]) == said


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1/chat/completions", OPENAI),
        ("/v1/responses", OPENAI),
        ("/api/chat/completions", OPENAI),
        ("/v1/messages", ANTHROPIC),
        ("/v1/messages?beta=true", ANTHROPIC),
        ("/v1/messages/count_tokens", ANTHROPIC),
        ("/v1/messages/batches", ANTHROPIC),
        ("/v1/messages_", OPENAI),
        ("/generate", TGI),
        ("/generate_stream", TGI),
        ("/v2/models/m/infer", TGI),
        ("/v2/models/m/versions/1/generate", TGI),
        ("/api/chat", OLLAMA),
        ("/api/generate", OLLAMA),
        ("/api/embed", OLLAMA),
        ("/api/tags", OLLAMA),
        ("/api/v1/generate", TGI),
        ("/worker_generate_stream", WORKER),
        ("/worker_generate", WORKER),
        ("/worker_get_embeddings", WORKER),
        ("/embedding", OPENAI),
    ],
)
def test_an_answer_of_our_own(path, said):
    with play() as script:
        d, u = waiting(script, post(path.encode()))
        u.close()
        head, body = split_head(d.receive())
        assert head.startswith(b"HTTP/1.1 502 ")
        assert json.loads(body) == said


@pytest.mark.parametrize(
    ("limits", "terms", "status", "kind"),
    [
        ({"body_bytes": 1}, {}, 413, "request_too_large"),
        ({}, {"first_byte": 0.05}, 504, "timeout_error"),
        ({}, {"usage_request": "nothing"}, 503, "overloaded_error"),
    ],
)
def test_the_kinds_of_anthropic(limits, terms, status, kind):
    with play(limits=limits, **terms) as script:
        if status == 503:
            script.engine.set_endpoint(0, up=False)
        d = script.downstream()
        d.send(post(b"/v1/messages"))
        if status == 504:
            script.upstream()
            script.wait()
        head, body = split_head(d.receive())
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert json.loads(body)["error"]["type"] == kind
